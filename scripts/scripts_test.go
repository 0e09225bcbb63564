package scripts_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// run runs a command and returns its output, of both streams, and its exit
// code.
func run(t *testing.T, dir string, env []string, name string, args ...string) (string, int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the scripts are for Linux")
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// must is run for a command that must succeed.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, code := run(t, dir, nil, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), code, out)
	}
	return out
}

func TestRelease_OfThisTreeCanBeInstalled(t *testing.T) {
	t.Parallel()
	out := must(t, "..", "scripts/release", "v0.0.1-test")
	if !strings.Contains(out, "installed, and it says: lastcall v0.0.1-test") ||
		!strings.Contains(out, "a module of a user that requires the library and the metrics builds") ||
		!strings.Contains(out, "nothing was changed here") {
		t.Error(out)
	}
	if tags := must(t, "..", "git", "tag", "--list", "*v0.0.1-test"); tags != "" {
		t.Errorf("a rehearsal left the tags %s", tags)
	}
}

func TestDemo_TheDemonstrationWorks(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "lastcall")
	must(t, filepath.Join("..", "cmd", "lastcall"), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	// A stop keeps a tenth of the grace for recording what is interrupted. On a busy disk that can
	// take more than a second, so the stores are in memory where the system has a directory there.
	env := []string{"LASTCALL=" + binary}
	if dir := fmt.Sprintf("/dev/shm/lastcall-demo-%d", os.Getpid()); os.Mkdir(dir, 0o700) == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		env = append(env, "TMPDIR="+dir)
	}
	out, code := run(t, "..", env, "scripts/demo", demoTree(t), "300ms", "20s")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	rest := out
	for _, want := range []string{
		"50 tasks on ", "interrupted/stop", "run it again: it goes on from there",
		"going on where the last demonstration stopped", "succeeded, run 2", "50 succeeded, 0 failed",
		"every hash is that of sha256sum",
		"3 servers on one store", "SIGTERM, and ", "50 of 50 tasks have succeeded", "no task was done twice",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is not there, or not in its place:\n%s", want, out)
		}
		rest = after
	}
}

// demoTree is a tree with almost all of its content in its first directory. The demonstration reads
// as slowly as its stop needs it, so the tasks of that directory take longer than the stop, however
// small it is.
func demoTree(t *testing.T) string {
	t.Helper()
	root, noise := t.TempDir(), rand.NewChaCha8([32]byte{})
	for i := range 50 {
		data := make([]byte, 80<<10)
		_, _ = noise.Read(data) // never fails
		// Encoded as hex: compression gives up early on data that cannot be compressed at all.
		put(t, root, fmt.Sprintf("a/%d", i), hex.EncodeToString(data))
	}
	short := 4 // most of the fifty tasks are short
	if testing.Short() {
		t.Log("make test-full: ten long tasks instead of six")
		short = 8
	}
	for i := range short {
		put(t, root, fmt.Sprintf("b%d/1", i), "one")
	}
	return root
}

// repository creates a small repository with the same modules as this one, and returns its root.
func repository(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile("release")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for name, content := range map[string]string{
		"scripts/release": string(script),
		"CHANGELOG.md":    "# Changelog\n\n## Unreleased\n\n## 0.1.0\n",
		".gitignore":      "secret.go\n",
		"go.mod":          "module github.com/lastcall-go/lastcall\n\ngo 1.26\n",
		"lastcall.go":     "package lastcall\n\nconst Word = \"lastcall\"\n",
		"prom/go.mod": "module github.com/lastcall-go/lastcall/prom\n\ngo 1.26\n\n" +
			"require github.com/lastcall-go/lastcall v0.0.0\n\nreplace github.com/lastcall-go/lastcall => ../\n",
		"prom/prom.go": "package prom\n\nimport \"github.com/lastcall-go/lastcall\"\n\nconst Word = lastcall.Word\n",
		"cmd/lastcall/go.mod": "module github.com/lastcall-go/lastcall/cmd/lastcall\n\ngo 1.26\n\n" +
			"require github.com/lastcall-go/lastcall v0.0.0\n\nrequire github.com/lastcall-go/lastcall/prom v0.0.0\n\n" +
			"replace github.com/lastcall-go/lastcall => ../..\n\nreplace github.com/lastcall-go/lastcall/prom => ../../prom\n",
		"cmd/lastcall/main.go": `package main

import (
	"fmt"
	"runtime/debug"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/prom"
)

func main() {
	info, _ := debug.ReadBuildInfo()
	fmt.Println(lastcall.Word, prom.Word, info.Main.Version)
}
`,
	} {
		put(t, root, name, content)
	}
	must(t, root, "git", "init", "-q", "-b", "main")
	must(t, root, "git", "config", "user.name", "test")
	must(t, root, "git", "config", "user.email", "test@localhost")
	must(t, root, "git", "add", "-A")
	must(t, root, "git", "commit", "-qm", "all of it")
	return root
}

func put(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := execfile.Write(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// refused checks that the release script fails with a message that contains the given text, and
// leaves no tag.
func refused(t *testing.T, root, words string, args ...string) {
	t.Helper()
	before := must(t, root, "git", "tag")
	out, code := run(t, root, nil, "scripts/release", args...)
	if code != 1 || !strings.Contains(out, words) {
		t.Errorf("exit code %d, want 1 and %q\n%s", code, words, out)
	}
	if after := must(t, root, "git", "tag"); after != before {
		t.Errorf("the tags were %q and are %q", before, after)
	}
}

func TestRelease_TagsAreMadeAndNothingElseChanges(t *testing.T) {
	t.Parallel()
	root := repository(t)
	head := must(t, root, "git", "rev-parse", "main")
	out := must(t, root, "scripts/release", "v0.1.0", "--tag")
	for _, tag := range []string{"v0.1.0", "prom/v0.1.0", "cmd/lastcall/v0.1.0"} {
		if !strings.Contains(out, "git push origin "+tag+"\n") {
			t.Error(out)
		}
	}
	if got := must(t, root, "git", "rev-parse", "v0.1.0^{commit}"); got != head {
		t.Errorf("v0.1.0 is %s, want %s", got, head)
	}
	if got := must(t, root, "git", "rev-parse", "main", "prom/v0.1.0^{commit}^", "cmd/lastcall/v0.1.0^{commit}^^"); got != head+head+head {
		t.Errorf("main and what the other two go back to are %s, want %s", got, head)
	}
	for tag, want := range map[string][]string{"prom": {"lastcall v0.1.0"}, "cmd/lastcall": {"lastcall v0.1.0", "lastcall/prom v0.1.0"}} {
		goMod := must(t, root, "git", "show", tag+"/v0.1.0:"+tag+"/go.mod")
		for _, required := range want {
			if strings.Contains(goMod, "replace") || !strings.Contains(goMod, required) {
				t.Error(goMod)
			}
		}
	}
	if changed := must(t, root, "git", "diff", "--name-only", "main", "cmd/lastcall/v0.1.0"); changed != "cmd/lastcall/go.mod\ncmd/lastcall/go.sum\nprom/go.mod\nprom/go.sum\n" {
		t.Errorf("the commits change %s", changed)
	}
	if status := must(t, root, "git", "status", "--porcelain"); status != "" {
		t.Error(status)
	}
	refused(t, root, "a released version never changes", "v0.1.0")
}

func TestRelease_ThatNobodyCouldInstallIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("a file that git ignores is needed", func(t *testing.T) {
		t.Parallel()
		root := repository(t)
		put(t, root, "lastcall.go", "package lastcall\n")
		put(t, root, "secret.go", "package lastcall\n\nconst Word = \"lastcall\"\n")
		refused(t, root, "go install does not work for a user", "v0.1.0")
	})
	t.Run("another replace is left", func(t *testing.T) {
		t.Parallel()
		root := repository(t)
		put(t, root, "cmd/lastcall/go.mod", "module github.com/lastcall-go/lastcall/cmd/lastcall\n\ngo 1.26\n\n"+
			"replace github.com/lastcall-go/lastcall => ../..\n\nreplace github.com/lastcall-go/lastcall/prom => ../../prom\n\n"+
			"replace github.com/lastcall-go/other => ../other\n")
		refused(t, root, "go install does not work for a user", "v0.1.0")
	})
	t.Run("the program says another version", func(t *testing.T) {
		t.Parallel()
		root := repository(t)
		put(t, root, "cmd/lastcall/main.go", "package main\n\nimport _ \"github.com/lastcall-go/lastcall\"\n\nfunc main() { println(\"unknown\") }\n")
		refused(t, root, "without v0.1.0", "v0.1.0")
	})
}

func TestRelease_TagsWantACleanTreeAndANoteOfWhatIsNew(t *testing.T) {
	t.Parallel()
	root := repository(t)
	refused(t, root, "CHANGELOG.md has no heading '## 0.2.0'", "v0.2.0", "--tag")
	put(t, root, "new.go", "package lastcall\n")
	refused(t, root, "changes that are not committed", "v0.1.0", "--tag")
	refused(t, root, "usage: scripts/release VERSION", "0.1.0")
	refused(t, root, "usage: scripts/release VERSION", "v2.0.0")
	refused(t, root, "can only be --tag", "v0.1.0", "--push")
}
