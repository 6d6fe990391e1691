//! Prices for seats that have no price of their own: one for all seats, one for each category, or both.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::plan::{PRICE_MAX, first_ten};

/// The form of a price in a query: `9900` or `Category I=9900`. A price is at most [`PRICE_MAX`].
pub const PRICE_PATTERN: &str = "^([\\s\\S]+=)?0*([0-9]{1,10}|10000000000)$";

/// Prices in minor units; a category's price takes precedence over the general one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices {
    general: Option<i64>,
    by_category: BTreeMap<String, i64>,
}

impl Prices {
    /// Parses the prices of a command line or a query: `9900` is for all seats, `Category I=9900` for those of a
    /// category. The last `=` is the separator, so the name may contain others.
    ///
    /// # Errors
    /// A sentence for each text that is no price from 0 to [`PRICE_MAX`], or is a second price.
    pub fn parse(texts: &[String]) -> Result<Self, Vec<String>> {
        let mut prices = Self::default();
        let problems: Vec<_> = texts.iter().filter_map(|text| prices.add(text).err()).collect();
        if problems.is_empty() { Ok(prices) } else { Err(problems) }
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (category, digits) = match text.rsplit_once('=') {
            Some((category, digits)) => (Some(category), digits),
            None => (None, text),
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let price =
            digits.parse().ok().filter(|price| (0..=PRICE_MAX).contains(price) && is_number);
        let price = price.filter(|_| category != Some("")).ok_or_else(|| {
            format!(
                "{} is not a price: give minor units, 0 to {PRICE_MAX}, as `9900` for all seats \
                 or `Category I=9900` for those of a category",
                first_ten([(text, None)])
            )
        })?;
        let earlier = match category {
            Some(category) => self.by_category.insert(category.to_owned(), price),
            None => self.general.replace(price),
        };
        match (earlier, category) {
            (None, _) => Ok(()),
            (Some(_), Some(category)) => Err(format!(
                "the category {} has two prices: give one",
                first_ten([(category, None)])
            )),
            (Some(_), None) => Err("there are two prices for all seats: give one".to_owned()),
        }
    }

    /// The price of a seat, by its category if it has one.
    pub(crate) fn of(&self, category: Option<&str>) -> Option<i64> {
        category.and_then(|category| self.by_category.get(category)).copied().or(self.general)
    }

    /// The problem of prices for categories that the plan does not have; `None` if there are no such prices.
    pub(crate) fn without_category(&self, of_plan: &BTreeSet<&str>) -> Option<String> {
        let priced = self.by_category.keys().map(String::as_str);
        let mut absent = priced.filter(|name| !of_plan.contains(name)).peekable();
        absent.peek()?;
        Some(format!(
            "prices are given for categories that the plan does not have: {}; it has {}",
            first_ten(absent.map(|name| (name, None))),
            if of_plan.is_empty() {
                "none".to_owned()
            } else {
                first_ten(of_plan.iter().map(|name| (*name, None)))
            }
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    fn parse(texts: &[&str]) -> Result<Prices, Vec<String>> {
        Prices::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_categorys_own_price_precedes_the_general_one() {
        let prices = parse(&["5000", "Category I=9900", "a=b=0"]).unwrap_or_default();
        assert_eq!(prices.of(Some("Category I")), Some(9900));
        assert_eq!(prices.of(Some("a=b")), Some(0));
        assert_eq!(prices.of(Some("Category II")), Some(5000));
        assert_eq!(prices.of(None), Some(5000));
        assert_eq!(parse(&[]).unwrap_or_default().of(None), None);
    }

    #[test]
    fn what_is_no_price_is_refused_with_an_example() {
        let wrong = [
            "",
            "99.00",
            "-1",
            "+1",
            "-0",
            "10000000001",
            "Category I",
            "Category I=",
            "=9900",
            "1 ",
        ];
        let problems = parse(&wrong).err().unwrap_or_default();
        assert_eq!(problems.len(), wrong.len());
        for (problem, wrong) in problems.iter().zip(wrong) {
            assert!(problem.starts_with(&format!("`{wrong}` is not a price")), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn a_text_of_the_form_of_a_price_is_one(text in string_regex(PRICE_PATTERN.trim_matches(['^', '$'])).unwrap()) {
            prop_assert_eq!(parse(&[&text]).err(), None);
        }
    }

    #[test]
    fn a_price_given_twice_is_refused_even_if_it_is_the_same() {
        let problems = parse(&["1", "1", "A=1", "A=2"]).err().unwrap_or_default();
        let expected = [
            "there are two prices for all seats: give one",
            "the category `A` has two prices: give one",
        ];
        assert_eq!(problems, expected);
    }
}
