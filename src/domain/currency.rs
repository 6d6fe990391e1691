//! The currencies that prices can be in.

/// The alphabetic codes of ISO 4217, List One, for money and units of account in which a price can be paid:
/// without metals, bond and accounting units of institutions, the test code (`XTS`) and "no currency". Withdrawn
/// codes are not accepted: BGN is the latest, on List Three since Bulgaria adopted the euro on 2026-01-01
/// (amendment 180).
/// Source: <https://www.six-group.com/en/products-services/financial-information/data-standards.html>.
const CODES: &str = "\
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
    CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP \
    GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR \
    KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN \
    MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD \
    SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX \
    USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// The message for a text that is not the code of a currency.
pub const REMEDY: &str =
    "must be the code of a currency in ISO 4217: three capital letters like EUR";

/// The codes of the currencies that prices can be in.
pub fn codes() -> impl Iterator<Item = &'static str> {
    CODES.split(' ')
}

/// Whether a text is the code of a currency that prices can be in.
#[must_use]
pub fn is_currency(text: &str) -> bool {
    codes().any(|code| code == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_three_capital_letters_and_in_order() {
        let codes: Vec<&str> = codes().collect();
        assert_eq!(codes.len(), 164);
        assert!(codes.is_sorted_by(|one, other| one < other));
        assert!(codes.iter().all(|code| code.len() == 3));
        assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_uppercase())));
    }

    #[test]
    fn current_money_is_accepted_and_anything_else_is_not() {
        for code in ["EUR", "CHF", "USD", "JPY", "KWD", "XAF", "ZWG", "AED"] {
            assert!(is_currency(code), "{code}");
        }
        for other in
            ["", " ", "eur", "EURO", "EU", "EUR USD", "ZZZ", "XTS", "XAU", "DEM", "HRK", "BGN"]
        {
            assert!(!is_currency(other), "{other:?}");
        }
    }
}
