package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// program builds a program whose one dependency is in a sibling directory. It returns the path of
// the program and that of its module.
func program(t *testing.T) (path, module string) {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"program/go.mod":  "module example.test/program\n\ngo 1.26\n\nrequire example.test/part v0.0.0\n\nreplace example.test/part => ../part\n",
		"program/main.go": "package main\n\nimport \"example.test/part\"\n\nfunc main() { part.F() }\n",
		"part/go.mod":     "module example.test/part\n\ngo 1.26\n",
		"part/part.go":    "package part\n\nfunc F() {}\n",
	} {
		put(t, filepath.Join(root, name), content)
	}
	path, module = filepath.Join(root, "bin"), filepath.Join(root, "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Dir, cmd.Env = module, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path, module
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLicenses_AModuleWithoutALicenceTextIsAnError(t *testing.T) {
	t.Parallel()
	path, module := program(t)
	to := filepath.Join(t.TempDir(), "licenses")
	var errs bytes.Buffer
	if code := run([]string{"-licenses", to, "-module", module, path}, &errs); code != 1 ||
		!strings.Contains(errs.String(), "example.test/part: no licence text") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
	part := filepath.Join(filepath.Dir(module), "part")
	put(t, filepath.Join(part, "LICENSE.md"), "a text")
	put(t, filepath.Join(part, "license.go"), "package part\n")
	errs.Reset()
	if code := run([]string{"-licenses", to, "-module", module, path}, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if text, err := os.ReadFile(filepath.Join(to, "example.test", "part", "LICENSE.md")); string(text) != "a text" {
		t.Errorf("the text is %q (%v)", text, err)
	}
	std, err := filepath.Glob(filepath.Join(to, "std@go*", "LICENSE"))
	if err != nil || len(std) != 1 {
		t.Errorf("of the standard library: %q (%v)", std, err)
	}
	if _, err := os.Stat(filepath.Join(to, "example.test", "part", "license.go")); err == nil {
		t.Error("source was copied")
	}
}

func TestSBOM_HasEveryModuleThatIsLinkedAndTheStandardLibrary(t *testing.T) {
	t.Parallel()
	path, _ := program(t)
	file := filepath.Join(t.TempDir(), "sbom")
	var errs bytes.Buffer
	if code := run([]string{"-sbom", file, path}, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bill
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Name != "example.test/program" || len(b.Components) != 2 ||
		b.Components[0].Name != "std" || b.Components[1].URL != "pkg:golang/example.test/part" ||
		len(b.Dependencies[0].On) != 2 {
		t.Errorf("got %s", text)
	}
}

func TestSBOM_AModuleThatWasReplacedIsTheOneInItsPlace(t *testing.T) {
	t.Parallel()
	got := linked(&debug.BuildInfo{Deps: []*debug.Module{
		{Path: "z.test/a", Version: "v1.0.0", Replace: &debug.Module{Path: "fork.test/A", Version: "v1.0.1+x", Sum: "h1:s"}},
		{Path: "b.test/b", Version: "v0.0.0", Replace: &debug.Module{Path: "../b", Version: "(devel)"}},
	}})
	if len(got) != 2 || got[0].Path != "b.test/b" || got[0].Version != "" || got[1].Path != "fork.test/A" {
		t.Fatalf("got %+v", got)
	}
	if c := newComponent("library", got[1].Path, got[1].Version, got[1].Sum); c.URL != "pkg:golang/fork.test/a@v1.0.1%2Bx" {
		t.Errorf("got %+v", c)
	}
}

func TestRun_ACommandLineThatMakesNoSenseExitsWith2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"program"}, {"-sbom", "x"}, {"-nonsense"}} {
		var errs bytes.Buffer
		if code := run(args, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
	}
	var errs bytes.Buffer
	if code := run([]string{"-sbom", filepath.Join(t.TempDir(), "x"), "main.go"}, &errs); code != 1 {
		t.Errorf("a file that is no program: exit code %d, %s", code, &errs)
	}
}
