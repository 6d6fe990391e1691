# Creates a folder in the folder $1, and deletes it when the standard input ends.
set -u
trap '' HUP INT TERM PIPE
folder=$(mktemp -d "$1/seatlock-test-XXXXXXXXXX") || exit 1
# Servers that do not run as root must be able to enter their own folders in this folder.
chmod 755 "$folder"
echo "$folder"
read -r _
# Scripts that use the folder hold a lock on it (process.sh, cluster.sh).
exec 4<"$folder"
flock -w 90 4
# Grandchildren may still write for a short time, and create files again that were just deleted.
for _ in {1..100}; do
    rm -rf -- "$folder" && exit
    sleep 0.05
done
