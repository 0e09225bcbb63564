package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fakeApt installs a package by writing its command, and installs nothing if one of the packages is
// in $UNAVAILABLE, as apt-get does. Its update fails if $UNAVAILABLE or $BROKEN is set.
const fakeApt = `#!/bin/sh
[ "$1" = -qq ] && shift
verb=$1 && shift
case $verb in
update)
  [ -z "$UNAVAILABLE$BROKEN" ] && exit
  echo "E: The repository 'https://packages.example/debian stable Release' does not have a Release file." >&2
  exit 100 ;;
install)
  for package; do
    case " $UNAVAILABLE " in *" $package "*) echo "E: Unable to locate package $package" >&2; exit 100 ;; esac
  done
  for package; do
    case $package in -*) ;; *) printf '#!/bin/sh\n' > "$FAKES/$package" && chmod 755 "$FAKES/$package" ;; esac
  done ;;
esac
`

// setup runs the script in a directory of its own, with a PATH in which all commands exist but
// ruby and shellcheck, and with fakes of apt-get and go. It returns what is printed, the exit
// code, and which of the two commands exist afterwards.
func setup(t *testing.T, env ...string) (out string, code int, installed string) {
	t.Helper()
	for _, needed := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/lib/*/libcares.so.2", "/usr/lib/*/libevent-2.1.so.7"} {
		if found, _ := filepath.Glob(needed); found == nil { // the pattern is well formed
			t.Skipf("needs %s, which make setup installs", needed)
		}
	}
	script, err := os.ReadFile("setup")
	if err != nil {
		t.Fatal(err)
	}
	root, fakes := t.TempDir(), t.TempDir()
	program := func(dir, name, text string) {
		t.Helper()
		put(t, dir, name, text)
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program(root, "scripts/setup", string(script))
	program(root, ".bin/pgbouncer", "#!/bin/sh\n")
	put(t, root, ".bin/libfaketime.so.1", "")
	needs, _, _ := strings.Cut(string(script), "linters=")
	for _, command := range regexp.MustCompile(`(?m)^([a-z0-9-]+)  +[a-z0-9]`).FindAllStringSubmatch(needs, -1) {
		if command[1] != "ruby" && command[1] != "shellcheck" {
			program(fakes, command[1], "#!/bin/sh\n")
		}
	}
	program(fakes, "apt-get", fakeApt)
	program(fakes, "go", "#!/bin/sh\n")
	program(fakes, "sudo", "#!/bin/sh\n[ \"$1\" = -n ] && shift\nexec \"$@\"\n")
	for _, command := range []string{"awk", "bash", "cat", "chmod", "dirname", "env", "grep", "id", "mkdir", "mktemp", "rm", "sh", "sort", "tail", "tr"} {
		real, err := exec.LookPath(command)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(fakes, command)) // awk is among what the tests need
		if err := os.Symlink(real, filepath.Join(fakes, command)); err != nil {
			t.Fatal(err)
		}
	}
	out, code = run(t, root, append(env, "PATH="+fakes, "FAKES="+fakes), "scripts/setup")
	for _, command := range []string{"ruby", "shellcheck"} {
		if _, err := os.Stat(filepath.Join(fakes, command)); err == nil {
			installed += " " + command
		}
	}
	return out, code, strings.TrimSpace(installed)
}

func TestSetup_ABrokenSourceKeepsNoPackageOfTheOthersAway(t *testing.T) {
	t.Parallel()
	const broken = "packages.example/debian stable Release' does not have a Release file"
	for _, c := range []struct {
		env, installed string
		code           int
		want           []string
	}{
		{"BROKEN=", "ruby shellcheck", 0, []string{"everything is here"}},
		{"BROKEN=yes", "ruby shellcheck", 0, []string{"all packages are installed", broken, "everything is here"}},
		{"UNAVAILABLE=ruby", "shellcheck", 1,
			[]string{"could not install the packages ruby: ", broken, "Unable to locate package ruby", "mend or remove it (below /etc/apt)"}},
		{"UNAVAILABLE=ruby shellcheck", "", 1, []string{"could not install the packages ruby shellcheck: "}},
	} {
		out, code, installed := setup(t, c.env)
		if code != c.code || installed != c.installed {
			t.Errorf("%s: exit code %d, want %d; installed %q, want %q\n%s", c.env, code, c.code, installed, c.installed, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", c.env, want, out)
			}
		}
	}
}
