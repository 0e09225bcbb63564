package container

import (
	"debug/elf"
	"os"
	"path/filepath"
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
	if !strings.Contains(im.build[0], "CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'") {
		t.Errorf("the program is built by %q", im.build[0])
	}
	root := im.make(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"data", "etc", "lastcall", "tmp"}) {
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
	defer func() { _ = program.Close() }() // only read
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the program needs the libraries %q (%v): there are none in the image", libraries, err)
	}
	if info, err := os.Stat(filepath.Join(root, "tmp")); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("/tmp is %v (%v)", info.Mode(), err)
	}
}
