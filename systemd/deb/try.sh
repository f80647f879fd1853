#!/bin/bash
# Tries the Debian package in a clean Debian 12 under a real systemd: install, judge a scan, kill, reload, stop, upgrade
# with a changed configuration, remove, purge. Needs root, debootstrap and systemd-container.
#
#   systemd/deb/try.sh target/debian/zal_0.1.0-1_amd64.deb SCAN [ROOT]     # SCAN: a .npy, .pcd or .ply; ROOT is kept
set -euo pipefail
deb=$(realpath "$1") scan=$(realpath "$2")
root=${3:-$(mktemp -d)/root}
say() { printf '\n== %s\n' "$1"; }
inside() { systemd-nspawn -q --register=no --keep-unit -D "$root" "$@" 2> >(grep -v 'remove disk file system' >&2); }

say "a clean Debian 12"
[ -d "$root/usr" ] || debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,adduser bookworm "$root" >/dev/null
mkdir -p "$root/root/try"
cp "$deb" "$root/root/try/zal.deb"
cp "$scan" "$root/root/try/"

say "install"
inside dpkg -i /root/try/zal.deb
inside zal --version
inside sh -euc '
  stat -c "%U %a %n" /var/lib/zal /var/spool/zal/incoming /etc/zal/credentials /usr/bin/zal
  test "$(stat -c %U /var/lib/zal)" = zal && test "$(stat -c %a /etc/zal/credentials)" = 700
  test -s /usr/share/man/man1/zal-model-install.1.gz && test -s /usr/share/bash-completion/completions/zal
  test ! -e /etc/systemd/system/multi-user.target.wants/zal.service
  sed -i "s/^cell = .*/cell = \"tried\"/; s|^# factory = .*|factory = \"/usr/share/zal/demo.zalb\"|;
    s/^allow_development_key = false/allow_development_key = true/" /etc/zal/zal.toml
  zal run -c /etc/zal/zal.toml --check
  systemctl enable zal'

say "boot: start, a scan, a kill, a reload, a stop"
cat >"$root/root/try/inside.sh" <<'INSIDE'
#!/bin/bash
# Runs in the booted container; the last line of try.log says how it went.
exec >/root/try/try.log 2>&1
set -eux
until_() { for _ in $(seq 600); do "$@" && return; sleep 0.2; done; echo "gave up: $*"; return 1; }
settled() { ls /var/spool/zal/done /var/spool/zal/bad | grep -q "$1"; }
restarted() { [ "$(systemctl show -p NRestarts --value zal)" = 1 ] && systemctl is-active -q zal; }
hand_in() { install -o zal -g zal -m 0640 "$1" "/var/spool/zal/incoming/.$2" && mv "/var/spool/zal/incoming/.$2" "/var/spool/zal/incoming/$2"; }
trap 'echo "FAILED in line $LINENO"; journalctl -u zal -n 40 --no-pager; systemctl poweroff' ERR
scan=$(ls /root/try/*.npy /root/try/*.pcd /root/try/*.ply 2>/dev/null | head -1)
until_ systemctl is-active -q zal
zal model status -c /etc/zal/zal.toml
hand_in "$scan" "first.${scan##*.}"
until_ settled first
systemctl kill -s KILL zal
until_ restarted
hand_in "$scan" "second.${scan##*.}"
until_ settled second
systemctl reload zal
hand_in "$scan" "third.${scan##*.}"
until_ settled third
zal report -c /etc/zal/zal.toml --since 1h --json | grep -q '"part_count":3'
start=$(date +%s%N)
systemctl stop zal
echo "stopped after $((($(date +%s%N) - start) / 1000000)) ms: $(systemctl show -p Result --value zal)"
[ "$(systemctl show -p Result --value zal)" = success ]
echo PASSED
systemctl poweroff
INSIDE
chmod +x "$root/root/try/inside.sh"
cat >"$root/etc/systemd/system/zal-try.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/try/inside.sh
[Install]
WantedBy=multi-user.target
UNIT
inside systemctl enable -q zal-try
timeout 300 systemd-nspawn -q --register=no --keep-unit -D "$root" -b >"$root/root/try/boot.log" 2>&1 || true
grep -v '^+' "$root/root/try/try.log"
tail -1 "$root/root/try/try.log" | grep -q 'PASSED\|poweroff' && grep -q '^PASSED' "$root/root/try/try.log"
inside systemctl disable -q zal-try

say "upgrade keeps the changed configuration"
rm -rf "$root/root/try/again" && dpkg-deb -R "$deb" "$root/root/try/again"
sed -i 's/^Version: .*/&+again/' "$root/root/try/again/DEBIAN/control"
printf '\n# a new default\n' >>"$root/root/try/again/etc/zal/zal.toml"
(cd "$root/root/try/again" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group -b "$root/root/try/again" "$root/root/try/again.deb" >/dev/null
inside dpkg --force-confdef --force-confold -i /root/try/again.deb
inside sh -euc 'grep -q "^cell = \"tried\"" /etc/zal/zal.toml && zal report -c /etc/zal/zal.toml --since 1h'

say "remove and purge"
inside dpkg -r zal
inside sh -euc 'test ! -e /usr/bin/zal && test -s /etc/zal/zal.toml && test -s /var/lib/zal/journal.db'
inside dpkg -P zal
inside sh -euc 'test ! -e /etc/zal/zal.toml && test -s /var/lib/zal/journal.db && ! dpkg -l zal 2>/dev/null | grep -q ^ii'
say "passed"
