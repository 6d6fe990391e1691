# Makes a folder that vanishes when the standard input ends. $1: where to make it.
set -u
trap '' HUP INT TERM PIPE
folder=$(mktemp -d "$1/seatlock-test-XXXXXXXXXX") || exit 1
# Servers that refuse to run as root have to come through to their own folder in here.
chmod 755 "$folder"
echo "$folder"
read -r _
# Whoever works here holds a lock on the folder (process.sh, cluster.sh).
exec 4<"$folder"
flock -w 90 4
# Children of a child may write for a moment longer, and bring back what was just deleted.
for _ in {1..100}; do
    rm -rf -- "$folder" && exit
    sleep 0.05
done
