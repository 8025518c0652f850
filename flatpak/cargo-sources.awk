# Writes what flatpak-builder fetches before it builds without a network: each crate in Cargo.lock with its checksum, laid
# out as a folder of vendored crates. `make flatpak-sources` runs it.

function field() {
    return substr($3, 2, length($3) - 2)
}

function crate(    folder) {
    if (name != "" && checksum != "") {
        folder = "cargo/vendor/" name "-" version
        printf "    {\"type\": \"archive\", \"archive-type\": \"tar-gzip\", \"dest\": \"%s\",\n", folder
        printf "     \"url\": \"https://static.crates.io/crates/%s/%s-%s.crate\",\n", name, name, version
        printf "     \"sha256\": \"%s\"},\n", checksum
        printf "    {\"type\": \"inline\", \"dest\": \"%s\", \"dest-filename\": \".cargo-checksum.json\",\n", folder
        printf "     \"contents\": \"{\\\"package\\\": \\\"%s\\\", \\\"files\\\": {}}\"},\n", checksum
    }
    name = version = checksum = ""
}

BEGIN { print "[" }
$1 == "[[package]]" { crate() }
$1 == "name" { name = field() }
$1 == "version" { version = field() }
$1 == "checksum" { checksum = field() }
# A crate of another origin would be left out, and the build would fail far from here.
$1 == "source" && field() != "registry+https://github.com/rust-lang/crates.io-index" {
    print name " comes from " field() ", which cargo-sources.awk does not know." > "/dev/stderr"
    failed = 1
    exit
}
END {
    crate()
    if (failed) {
        exit 1
    }
    print "    {\"type\": \"inline\", \"dest\": \"cargo\", \"dest-filename\": \"config.toml\","
    print "     \"contents\": \"[source.crates-io]\\nreplace-with = \\\"vendored\\\"\\n\\n[source.vendored]\\ndirectory = \\\"/run/build/dormouse/cargo/vendor\\\"\\n\"}"
    print "]"
}
