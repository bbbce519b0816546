#!/bin/sh
# Installs Solderwatch as a systemd service, or takes it away again.
set -eu
umask 022

usage() {
    cat <<'HELP'
Usage: sudo ./systemd/install.sh [--gpu] [--training] [--review] [--wheels DIR]
       sudo ./systemd/install.sh --remove [--purge]

Installs Solderwatch as a systemd service and starts it: from the wheel that lies beside this file, as 'make wheel' puts
them into dist/, else from the checkout around it. To upgrade, run it again with the same options: the line keeps judging
until the new version is complete, and a failed run leaves the old one in place.

  --gpu          let the service use NVIDIA devices; the driver must be installed
  --training     install solderwatch-train too, and its weekly timer, which stays off until you say
                 systemctl enable --now solderwatch-train.timer
  --review       install and start the operator's page too, solderwatch-review, on http://127.0.0.1:8417
  --wheels DIR   take all packages from DIR, without a network. To fill DIR, on a connected PC of the same kind
                 (requirements/training.txt for --training, requirements/review.txt for --review alone):
                 python3.11 -m pip download --require-hashes --only-binary=:all: -r requirements/line.txt -d DIR
  --remove       take it away again; keeps /etc/solderwatch, /var/lib/solderwatch and /var/log/solderwatch
  --purge        with --remove: delete those too, with every image, model and decision in them, and the user
  --help         this text

  PYTHON=PATH    the Python 3.11 to build on (default: python3.11)
  DESTDIR=DIR    stage the files under DIR; no root, packages, user or service. With --remove: unstage them

Where things go:
  /opt/solderwatch/venv         the program and its packages, as locked with hashes in requirements/
  /etc/solderwatch/config.yaml  yours: never overwritten, a newer one is put beside it as config.yaml.new
  /var/lib/solderwatch          inbox, io, nio, quarantine, work, dataset, models
  /var/log/solderwatch          decisions.jsonl, rotated by /etc/logrotate.d/solderwatch
  /usr/local/lib                systemd/system, sysusers.d, tmpfiles.d
  /etc/systemd/system           your own changes: systemctl edit solderwatch

Exit codes: 0 done; 1 failed; 2 the command line is wrong.
HELP
}

say() { echo "==> $1"; }

die() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
repo=${here%/*}
root=${DESTDIR:-}
opt=$root/opt/solderwatch
config=/etc/solderwatch/config.yaml
units=$root/usr/local/lib/systemd/system
sysusers=$root/usr/local/lib/sysusers.d/solderwatch.conf
tmpfiles=$root/usr/local/lib/tmpfiles.d/solderwatch.conf
review_sysusers=$root/usr/local/lib/sysusers.d/solderwatch-review.conf
review_tmpfiles=$root/usr/local/lib/tmpfiles.d/solderwatch-review.conf
logrotate=$root/etc/logrotate.d/solderwatch

copy='' unpacked='' wheel=''
trap 'rm -rf "$copy" "$unpacked"' EXIT

gpu=false training=false review=false remove=false purge=false wheels='' waiting=''

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --gpu) gpu=true ;;
            --training) training=true ;;
            --review) review=true ;;
            --wheels)
                [ -d "${2:-}" ] || die "--wheels wants a folder, not '${2:-}'" 2
                wheels=$(CDPATH='' cd -- "$2" && pwd)
                shift
                ;;
            --remove) remove=true ;;
            --purge) purge=true ;;
            --help)
                usage
                exit 0
                ;;
            *) die "unknown option '$1'; --help lists them" 2 ;;
        esac
        shift
    done
    if $purge && ! $remove; then
        die "--purge goes with --remove" 2
    fi
    if $remove && { $gpu || $training || $review || [ -n "$wheels" ]; }; then
        die "--remove takes everything: leave out --gpu, --training, --review and --wheels" 2
    fi
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die "needs root: sudo $0"
    [ -d /run/systemd/system ] || die "systemd is not running here; DESTDIR=DIR stages the files without it"
}

# --- packages ---

# What this file needs of a checkout lies in the wheel too.
find_sources() {
    set -- "$here"/solderwatch-*.whl
    if [ -e "$1" ]; then
        [ $# -eq 1 ] || die "several wheels in $here: leave only the one to install"
        wheel=$1
        unpacked=$(mktemp -d)
        "${PYTHON:-python3.11}" -m zipfile --extract "$wheel" "$unpacked" ||
            die "$wheel cannot be unpacked with ${PYTHON:-python3.11}: copy it anew, or name a Python with PYTHON=PATH"
        repo=$unpacked/settings/shipped
    elif [ ! -e "$repo/pyproject.toml" ]; then
        die "no solderwatch-*.whl in $here, nor is it in a checkout: put the wheel there ('make wheel' builds it)"
    fi
}

need_python() {
    python=$(command -v "${PYTHON:-python3.11}") ||
        die "no ${PYTHON:-python3.11} here: install python3.11 with venv, or name one with PYTHON=PATH"
    "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
        die "$python is not Python 3.11 with venv: install python3.11-venv, or name another with PYTHON=PATH"
    home=$("$python" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))')
    case $home in
        /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*)
            die "Python in $home is hidden from services: name another with PYTHON=PATH, such as /usr/bin/python3.11"
            ;;
    esac
}

# Building writes into the source tree, which may be read-only or somebody's checkout.
copy_sources() {
    copy=$(mktemp -d)
    cp "$repo/pyproject.toml" "$repo/README.md" "$repo/LICENSE" "$copy"
    for init in "$repo"/*/__init__.py; do
        # The links in settings/shipped lead out of the package.
        cp -RL "${init%/*}" "$copy"
    done
    find "$copy" -name __pycache__ -prune -exec rm -rf {} +
}

# One venv per content, made complete before the link turns to it: an upgrade that fails changes nothing.
install_venv() {
    lock=$repo/requirements/line.txt
    if $review; then lock=$repo/requirements/review.txt; fi
    # It has the page's packages as well.
    if $training; then lock=$repo/requirements/training.txt; fi
    program=$wheel
    if [ -z "$wheel" ]; then
        copy_sources
        program=$copy
    fi
    key=$( (echo "$python" && cat "$lock" && find "$program" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat) | sha256sum | cut -c 1-12)
    venv=$opt/venv-$key
    if [ ! -e "$venv/.complete" ]; then
        say "installing packages into $venv; torch is large, this takes minutes"
        rm -rf "$venv"
        mkdir -p "$opt"
        "$python" -m venv "$venv" || die "no venv: see the message above"
        pip_install --require-hashes --only-binary=:all: --requirement "$lock"
        # setuptools, which builds it, is in the lock: torch requires it.
        pip_install --no-deps --no-build-isolation --no-index "$program"
        touch "$venv/.complete"
    fi
    ln -sfn "venv-$key" "$opt/venv.next"
    mv -T "$opt/venv.next" "$opt/venv"
}

pip_install() {
    if [ -n "$wheels" ]; then set -- --no-index --find-links "$wheels" "$@"; fi
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --progress-bar off "$@" ||
        die "pip failed: see the message above; what ran before is untouched"
}

drop_old_venvs() {
    for old in "$opt"/venv-*; do
        [ "$old" = "$venv" ] || rm -rf "$old"
    done
}

# --- files ---

put() {
    install -D -m 0644 "$repo/systemd/$1" "$2"
}

systemd_version() {
    systemctl --version 2>/dev/null | awk 'NR == 1 { print int($2); found = 1 } END { if (!found) print 0 }'
}

# put_if CONDITION SOURCE TARGET: a re-run without an option takes away what a run with it had put there.
put_if() {
    if $1; then
        put "$2" "$3"
    elif [ -e "$3" ]; then
        say "removing $3"
        rm -f "$3"
        rmdir "$(dirname "$3")" 2>/dev/null || :
    fi
}

install_units() {
    put solderwatch.service "$units/solderwatch.service"
    put_if "$gpu" drop-in/gpu.conf "$units/solderwatch.service.d/gpu.conf"
    new_systemd=false
    if [ "$(systemd_version)" -ge 253 ]; then new_systemd=true; fi
    put_if "$new_systemd" drop-in/notify-reload.conf "$units/solderwatch.service.d/notify-reload.conf"

    if ! $training; then disable solderwatch-train.timer; fi
    put_if "$training" solderwatch-train.service "$units/solderwatch-train.service"
    put_if "$training" solderwatch-train.timer "$units/solderwatch-train.timer"
    gpu_training=false
    if $gpu && $training; then gpu_training=true; fi
    put_if "$gpu_training" drop-in/gpu.conf "$units/solderwatch-train.service.d/gpu.conf"

    if ! $review; then disable solderwatch-review.service; fi
    put_if "$review" solderwatch-review.service "$units/solderwatch-review.service"
    put_if "$review" sysusers.d/solderwatch-review.conf "$review_sysusers"
    put_if "$review" tmpfiles.d/solderwatch-review.conf "$review_tmpfiles"

    put sysusers.d/solderwatch.conf "$sysusers"
    put tmpfiles.d/solderwatch.conf "$tmpfiles"
    [ -e "$logrotate" ] || put logrotate.d/solderwatch "$logrotate"
}

# The shipped configuration with the service's folders; keeps every comment.
service_config() {
    awk '
        function set(path) {
            comment = match($0, /[[:space:]]#/) ? substr($0, RSTART + 1) : ""
            line = sprintf("%-47s %s", "  " $1 " " path, comment)
            sub(/ +$/, "", line)
            print line
            count++
        }
        /^[a-z]/ { section = $1 }
        section == "paths:" && /^  (inbox|io|nio|quarantine|work|dataset|models|boards):/ {
            set("/var/lib/solderwatch/" substr($1, 1, length($1) - 1)); next
        }
        section == "paths:" && /^  ledger:/ { set("/var/lib/solderwatch/ledger.db"); next }
        section == "logs:" && /^  file:/ { set("/var/log/solderwatch/decisions.jsonl"); next }
        section == "review:" && /^  folder:/ { set("/var/lib/solderwatch/review"); next }
        { print }
        END { exit count != 11 }
    ' "$repo/config.yaml"
}

install_config() {
    target=$root$config
    install -d -m 0755 "$(dirname "$target")"
    service_config >"$target.new" || {
        rm -f "$target.new"
        die "$repo/config.yaml lacks one of the nine paths, review.folder or logs.file"
    }
    if [ ! -e "$target" ]; then
        mv "$target.new" "$target"
    elif cmp -s "$target.new" "$target"; then
        rm "$target.new"
    else
        say "$target is kept; the new one is beside it, as config.yaml.new"
    fi
}

# --- service ---

disable() {
    [ -z "$root" ] || return 0
    if systemctl cat "$1" >/dev/null 2>&1; then systemctl --quiet disable --now "$1"; fi
}

# Without a model the service is starting until there is one; nobody is to wait here for that. Leaves in $waiting what
# the service says of itself while it is not ready.
await_start() {
    while
        state=$(systemctl show --property=Job,ActiveState,StatusText solderwatch.service)
        echo "$state" | grep -q '^Job=.'
    do
        waiting=
        case $state in *ActiveState=activating*) waiting=$(echo "$state" | sed -n 's/^StatusText=//p') ;; esac
        if [ -n "$waiting" ]; then return; fi
        sleep 0.5
    done
    systemctl --quiet is-active solderwatch.service || die "it does not start: journalctl --unit solderwatch says why"
}

start() {
    systemd-sysusers "$sysusers"
    systemd-tmpfiles --create "$tmpfiles"
    if $review; then
        systemd-sysusers "$review_sysusers"
        systemd-tmpfiles --create "$review_tmpfiles"
    fi
    systemctl daemon-reload
    systemctl --quiet enable solderwatch.service
    cd /
    if ! runuser -u solderwatch -- "$opt/venv/bin/solderwatch" check --config "$config"; then
        die "installed, but not started: mend what stands above, then: systemctl restart solderwatch"
    fi
    systemctl restart --no-block solderwatch.service
    await_start
    case $waiting in
        '') say "solderwatch is running; drop images in /var/lib/solderwatch/inbox" ;;
        *) say "solderwatch has started and is not ready: $waiting" ;;
    esac
    case $waiting in
        *"no model"*)
            say "next: put labelled images in /var/lib/solderwatch/dataset/io and nio, then: systemctl start solderwatch-train"
            say "(it comes with --training); or bring a model that was trained elsewhere to /var/lib/solderwatch/models"
            ;;
    esac
    if $review; then start_review; fi
    drop_old_venvs
    if $gpu; then say "with 'device: cuda' in $config it never judges on the CPU instead"; fi
}

start_review() {
    systemctl --quiet enable solderwatch-review.service
    systemctl restart solderwatch-review.service
    say "the operator's page is on http://127.0.0.1:8417"
}

remove() {
    disable solderwatch-review.service
    disable solderwatch-train.timer
    disable solderwatch-train.service
    disable solderwatch.service
    rm -f "$review_sysusers" "$review_tmpfiles" "$units/solderwatch-review.service"
    rm -f "$sysusers" "$tmpfiles" "$units/solderwatch.service" "$units/solderwatch-train.service" \
        "$units/solderwatch-train.timer" "$root/var/lib/systemd/timers/stamp-solderwatch-train.timer"
    rm -rf "$units/solderwatch.service.d" "$units/solderwatch-train.service.d" "$opt" "$root/var/cache/solderwatch"
    if $purge; then purge; fi
    [ -n "$root" ] || systemctl daemon-reload
    say "removed"
}

purge() {
    # A network share that is mounted in there is not ours to empty.
    rm -rf --one-file-system "$root/etc/solderwatch" "$root/var/lib/solderwatch" "$root/var/log/solderwatch" "$logrotate" \
        "$root/etc/systemd/system/solderwatch.service.d" "$root/etc/systemd/system/solderwatch-train.service.d" \
        "$root/etc/systemd/system/solderwatch-review.service.d"
    [ -z "$root" ] || return 0
    userdel solderwatch-review 2>/dev/null || :
    userdel solderwatch 2>/dev/null || :
    groupdel solderwatch 2>/dev/null || :
}

parse "$@"
[ -n "$root" ] || need_root
if $remove; then
    remove
    exit
fi
find_sources
if [ -z "$root" ]; then
    need_python
    install_venv
fi
install_units
install_config
if [ -n "$root" ]; then
    say "staged under $root"
else
    start
fi
