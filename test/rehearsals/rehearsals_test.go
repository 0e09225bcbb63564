//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/rehearse"
)

const seenFile = "testdata/seen.json"

func TestServers_EachRowSaysWhatIsDocumentedAndWhere(t *testing.T) {
	names := map[string]bool{}
	for _, s := range servers() {
		if names[s.name] {
			t.Errorf("%s is there twice", s.name)
		}
		names[s.name] = true
		for what, text := range map[string]string{
			"documentation": s.documented, "section": s.section, "product": s.product.name, "release line": s.product.line,
		} {
			if text == "" {
				t.Errorf("%s has no %s", s.name, what)
			}
		}
		for _, url := range []string{s.source, s.product.endsSource} {
			if !strings.HasPrefix(url, "https://") {
				t.Errorf("%s: %q is no source", s.name, url)
			}
		}
		for _, want := range []findings{s.want, s.wantDelayed} {
			for _, code := range strings.Fields(want.fails + " " + want.warns) {
				if !rehearse.Code(code).Known() {
					t.Errorf("%s wants %s, which is no finding", s.name, code)
				}
			}
		}
	}
}

func TestPage_IsMadeFromWhatWasSeenOfAllServers(t *testing.T) {
	seen, err := load(seenFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers() {
		one := seen.find(s.name)
		if one == nil {
			t.Errorf("nothing was seen of %s: run make rehearsals", s.name)
			continue
		}
		for _, err := range s.differs(one) {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if len(seen.Rows) != len(servers()) {
		t.Errorf("%d servers were seen, and the table has %d", len(seen.Rows), len(servers()))
	}
	want, err := page(servers(), seen)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("../../docs/rehearsals.md"); err != nil || string(got) != want {
		t.Errorf("docs/rehearsals.md is not made from %s (%v): run make rehearsals REHEARSALSFLAGS=\"-only '^$'\"", seenFile, err)
	}
}

// Servers that every machine that runs the tests has are rehearsed, with the results on the page.
func TestRehearsals_PythonAndGoDoAsThePageSays(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	lastcall := filepath.Join(work, "lastcall")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", lastcall, ".")
	build.Dir = "../../cmd/lastcall"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{lastcall: lastcall, data: data, work: work, rate: 50}
	for _, s := range servers() {
		if s.name != "Python http.server" && s.name != "Go net/http" && s.name != "Go net/http, Shutdown" {
			continue
		}
		if testing.Short() && s.name != "Go net/http" {
			t.Logf("make test-full: %s too", s.name)
			continue
		}
		if missing := s.missing(); missing != "" {
			t.Skipf("no %s here: install %s", missing, s.installed)
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if err := r.prepare(t.Context(), &s); err != nil {
				t.Fatal(err)
			}
			seen, err := r.rehearse(t.Context(), &s)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range s.differs(&seen) {
				t.Error(err)
			}
		})
	}
}
