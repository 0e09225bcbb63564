package container

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const containerfile = repository + "/deploy/Containerfile"

func TestImage_HasTheProgramAloneAndAtMost25MiB(t *testing.T) {
	im := readContainerfile(t, containerfile)
	if im.from != "scratch" || im.user != "65532:65532" || im.stop != "SIGTERM" {
		t.Errorf("from %s, user %s, stop signal %s: want scratch, 65532:65532 and SIGTERM", im.from, im.user, im.stop)
	}
	if !slices.Equal(im.entry, []string{"/lastcall"}) {
		t.Errorf("the entry point is %q: anything before the program would get the signals in its place", im.entry)
	}
	if !strings.Contains(im.build[0], "CGO_ENABLED=0 go build -trimpath -tags norehearse -ldflags '-s -w'") {
		t.Errorf("the program is built by %q", im.build[0])
	}
	root := makeProgram(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"data", "etc", "lastcall", "lastcall.cdx.json", "licenses", "tmp"}) {
		t.Errorf("the image has %q", names)
	}
	if size := len(tarOf(t, root)); size > 25<<20 {
		t.Errorf("the image has %d bytes, more than 25 MiB", size)
	} else {
		t.Logf("the image has %.1f MiB", float64(size)/(1<<20))
	}
	program, err := elf.Open(filepath.Join(root, "lastcall"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }() // it was only read
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the program needs the libraries %q (%v): there are none in the image", libraries, err)
	}
	if info, err := os.Stat(filepath.Join(root, "tmp")); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("/tmp is %v (%v)", info.Mode(), err)
	}
}

func TestImage_HasTheLicenceTextsAndTheBillOfMaterialsOfWhatIsLinked(t *testing.T) {
	root := makeProgram(t)
	info, err := buildinfo.ReadFile(filepath.Join(root, "lastcall"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "lastcall.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	versions := make(map[string]string)
	for _, c := range bill.Components {
		versions[c.Name] = c.Version
	}
	if want := strings.TrimPrefix(info.GoVersion, "go"); versions["std"] != want {
		t.Errorf("the bill has the standard library %q, want %q", versions["std"], want)
	}
	if len(info.Deps) < 10 || len(versions) != len(info.Deps)+1 {
		t.Errorf("%d modules are linked, the bill has %d components", len(info.Deps), len(versions))
	}
	for _, m := range info.Deps {
		dir := m.Path
		if m.Replace == nil {
			dir += "@" + m.Version
			if versions[m.Path] != m.Version {
				t.Errorf("the bill has %q of %s, want %s", versions[m.Path], m.Path, m.Version)
			}
		}
		if found, err := filepath.Glob(filepath.Join(root, "licenses", dir, "*")); err != nil || len(found) == 0 {
			t.Errorf("no licence text of %s (%v)", dir, err)
		}
	}
	notice, err := filepath.Glob(filepath.Join(root, "licenses", "github.com/prometheus/client_golang@*", "NOTICE"))
	if err != nil || len(notice) != 1 {
		t.Errorf("the notices of client_golang are %q (%v)", notice, err)
	}
}

// What the program of the image lacks is refused as a command line, with the place where it can be
// found, and is not mistaken for a rehearsal that failed.
func TestImage_WhatItsProgramLacksIsASentence(t *testing.T) {
	program := filepath.Join(makeProgram(t), "lastcall")
	const lacks = "rehearse and doctor -f are not in this build, "
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "lastcall: " + lacks, []string{"rehearse", "--http", "http://127.0.0.1:8080", "--", "./server", "--port", "8080"}},
		{2, "lastcall: " + lacks, []string{"rehearse", "--explain", "LC101"}},
		{2, "lastcall: " + lacks, []string{"doctor", "-f", "deployment.yaml"}},
		{0, lacks, []string{"rehearse", "--help"}},
	} {
		cmd := exec.CommandContext(t.Context(), program, c.args...)
		said, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(said), c.says) {
			t.Errorf("lastcall %s: %v, want exit code %d and %q:\n%s", strings.Join(c.args, " "), err, c.code, c.says, said)
		}
	}
}

func TestImage_IsBuiltByTheGoOfTheModuleWhicheverTheBuilderHas(t *testing.T) {
	im := readContainerfile(t, containerfile)
	mod, err := os.ReadFile(repository + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^toolchain (go(\d+\.\d+)\.\d+)$`).FindStringSubmatch(string(mod))
	if m == nil {
		t.Fatal("go.mod has no toolchain line: what builds the program may have known vulnerabilities")
	}
	if want := "docker.io/library/golang:" + m[2]; im.builder != want {
		t.Errorf("the builder is %s, want %s, or a digest that somebody names", im.builder, want)
	}
	info, err := buildinfo.ReadFile(filepath.Join(makeProgram(t), "lastcall"))
	if err != nil {
		t.Fatal(err)
	}
	if info.GoVersion != m[1] {
		t.Errorf("the program was built by %s, want %s", info.GoVersion, m[1])
	}
}
