package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// write makes a tree of files and returns its root.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := execfile.Write(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	goMod = "module broken.test\n\ngo 1.26\n"
	quiet = "// Package p does nothing.\npackage p\n"
	racy  = "package p\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) {\n\tn, done := 0, make(chan bool)\n" +
		"\tgo func() { n++; close(done) }()\n\tn++\n\t<-done\n}\n"
)

func TestChecks_CatchWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		check string
		files map[string]string
		want  string
	}{
		{"gofmt", map[string]string{"p.go": "package p\nvar  X int\n"}, "p.go"},
		{"go vet windows", map[string]string{"p.go": quiet, "p_windows.go": "package p\n\nvar x int = \"x\"\n"},
			"p_windows.go"},
		{"go vet darwin", map[string]string{"p.go": quiet, "p_darwin_test.go": "package p\n\nvar x int = \"x\"\n"},
			"p_darwin_test.go"},
		{"go mod tidy .", map[string]string{"go.mod": goMod + "\nrequire broken.test/unused v1.0.0\n\nreplace broken.test/unused => ./unused\n", "p.go": quiet, "unused/go.mod": "module broken.test/unused\n"}, "broken.test/unused"},
		{"go test .", map[string]string{"p.go": quiet, "p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { t.Fatal(\"no\") }\n"}, "p_test.go:5: no"},
		{"go test .", map[string]string{"p.go": quiet, "p_test.go": racy}, "DATA RACE"},
		{"go test test/...", map[string]string{"p.go": quiet, "test/x_test.go": "package test\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { t.Fatal(\"no\") }\n"}, "x_test.go:5: no"},
		{"go test test/chaos/...", map[string]string{"p.go": quiet,
			"test/chaos/x_test.go": "package chaos\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { t.Fatal(\"no\") }\n"},
			"x_test.go:5: no"},
		{"go test .", map[string]string{"go.mod": "module broken.test\n\ngo 1.26\n\nrequire nothing\n"}, "go.mod"},
		{"workspace", map[string]string{"go.work": "go 1.26\n\nuse (\n\t.\n\t./a\n\t./missing\n)\n", "p.go": quiet,
			"a/go.mod": "module broken.test/a\n", "a/a.go": quiet}, "missing"},
	} {
		t.Run(c.check+" "+c.want, func(t *testing.T) {
			t.Parallel()
			if c.files["go.mod"] == "" {
				c.files["go.mod"] = goMod
			}
			var out, errs bytes.Buffer
			root := write(t, c.files)
			code := run(t.Context(), []string{"-root", root, "-only", "^" + c.check + "$"}, noEnv, &out, &errs)
			if code != 1 || !strings.Contains(out.String(), c.want) {
				t.Errorf("exit code %d, want 1 and %q in\n%s%s", code, c.want, &out, &errs)
			}
		})
	}
}

func TestGoTest_WhatGoListReportsOfDownloadsIsNoPackage(t *testing.T) {
	list, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := write(t, map[string]string{"go": "#!/bin/sh\necho 'go: downloading broken.test/other v1.0.0' >&2\nexec " + list + " \"$@\"\n"})
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	root := write(t, map[string]string{"go.mod": goMod, "p.go": quiet, "q/q.go": quiet})
	if all, err := packages(t.Context(), root, everything); err != nil || !slices.Equal(all, []string{"broken.test", "broken.test/q"}) {
		t.Errorf("packages %q, error %v", all, err)
	}
}

func TestGolangciLint_VetAndStaticcheckAreAmongTheLinters(t *testing.T) {
	if _, err := exec.LookPath("golangci-lint"); err != nil {
		t.Skip("golangci-lint is not installed: run make setup, and this test through make test")
	}
	t.Parallel()
	settings, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	root := write(t, map[string]string{
		".golangci.yml": string(settings),
		"go.mod":        goMod,
		"p.go": `// Package p has a mistake for each of them.
package p

import (
	"fmt"
	"strings"
)

// F does nothing of use.
func F(s string) {
	fmt.Printf("%d", s)
	strings.Replace(s, "a", "b", 1)
}
`,
	})
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"-root", root, "-only", "^golangci-lint"}, noEnv, &out, &errs)
	if code != 1 || !strings.Contains(out.String(), "(govet)") || !strings.Contains(out.String(), "(staticcheck)") {
		t.Errorf("exit code %d, want 1 and a finding of each\n%s%s", code, &out, &errs)
	}
}

func TestRun_WhatEndsProcessesBeginsWhenTheChecksOfTheSourceHaveEnded(t *testing.T) {
	var mu sync.Mutex
	var ended, order []string
	after := func(all ...string) func() bool {
		return func() bool {
			return !slices.ContainsFunc(all, func(s string) bool { return !slices.Contains(ended, s) })
		}
	}
	one := func(name string, l lane, beside func() bool) check {
		return check{name: name, lane: l, run: func(context.Context) result {
			mu.Lock()
			defer mu.Unlock()
			if !beside() {
				t.Errorf("%s runs after %v", name, ended)
			}
			ended = append(ended, name)
			return result{}
		}}
	}
	checks := []check{
		one("last", processes, after("first", "second")),
		one("last too", harnesses, after("first", "second")),
		one("first", source, after()),
		one("second", source, after("first")),
		one("tests", library, after()),
		one("tests too", modules, after()),
	}
	record := func(c check, _ result) { order = append(order, c.name) }
	if broken := runAll(t.Context(), checks, record); len(broken) > 0 || len(order) != len(checks) {
		t.Errorf("ended %v, interrupted %v", order, broken)
	}
}

func TestRun_NothingBeginsAfterAnInterruption(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := func(what string) check {
		return check{name: what, lane: processes, run: func(context.Context) result {
			t.Errorf("%s began", what)
			return result{}
		}}
	}
	first := check{name: "first", run: func(context.Context) result { cancel(); return result{} }}
	broken := runAll(ctx, []check{first, began("last")}, func(check, result) {})
	if !slices.Equal(broken, []string{"first"}) {
		t.Errorf("interrupted %v", broken)
	}
}

func TestPackages_TheLongOnesBeginFirst(t *testing.T) {
	found, err := packages(t.Context(), "../..", endsNone)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range found {
		if isLong(p) != (i < len(long)) {
			t.Errorf("%s is the %d. of %d packages", p, i+1, len(found))
		}
	}
}

func TestFull_OnlyTheFullRunHasTheFuzzTargets(t *testing.T) {
	root := write(t, map[string]string{"go.mod": goMod})
	for _, full := range []bool{false, true} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"-root", root, "-list", "-full=" + strconv.FormatBool(full)}, noEnv, &out, &errs)
		if code != 0 || strings.Contains(out.String(), "fuzz\n") != full {
			t.Errorf("full %v: exit code %d\n%s%s", full, code, &out, &errs)
		}
	}
}

func TestRun_ASoundModulePasses(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{
		"go.mod":    goMod,
		"p.go":      quiet,
		"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) {}\n",
	})
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"-root", root, "-only", "^(gofmt|go )"}, noEnv, &out, &errs)
	if code != 0 || !strings.HasSuffix(out.String(), "\n5 passed, 0 failed, 0 skipped\n") {
		t.Errorf("exit code %d\n%s%s", code, &out, &errs)
	}
}

func TestChecks_AMissingToolIsLeftOutByName(t *testing.T) {
	r := command(t.TempDir(), nil, "no-such-linter")(t.Context())
	if r.failure != "" || !strings.Contains(r.leftOut, "no-such-linter is not installed: run make setup") {
		t.Errorf("got %+v", r)
	}
}

func TestRun_ACommandLineThatMakesNoSenseExitsWith2(t *testing.T) {
	root := write(t, map[string]string{"go.mod": goMod})
	for _, args := range [][]string{{"-only", "("}, {"-skip", "("}, {"-only", "nothing is called so"}, {"-nonsense"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"-root", root}, args...), noEnv, &out, &errs); code != 2 ||
			errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
	}
	var out, errs bytes.Buffer
	env := func(name string) string { return map[string]string{"LEFT_OUT_OK": "govulncheck"}[name] }
	if code := run(t.Context(), []string{"-root", root, "-list"}, env, &out, &errs); code != 2 {
		t.Errorf("LEFT_OUT_OK without a reason: exit code %d", code)
	}
}

func TestRun_AnInterruptedRunIsNoSuccess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	root := write(t, map[string]string{"go.mod": goMod, "p.go": quiet})
	if code := run(ctx, []string{"-root", root, "-only", "gofmt"}, noEnv, &out, &errs); code != 1 ||
		!strings.Contains(errs.String(), "interrupted in gofmt") {
		t.Errorf("exit code %d, %s", code, &errs)
	}
}

func TestModules_AreThoseOfTheWorkspaceThatExist(t *testing.T) {
	root := write(t, map[string]string{
		"go.work":      "go 1.26\n\nuse (\n\t.\n\t./cmd/x\n\t./later\n)\n",
		"go.mod":       goMod,
		"cmd/x/go.mod": goMod,
	})
	got, err := findModules(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []module{{".", root}, {"cmd/x", filepath.Join(root, "cmd", "x")}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestShellcheck_ScriptsAreFoundByTheirFirstLine(t *testing.T) {
	root := write(t, map[string]string{
		".ci/run":           "#!/usr/bin/env bash\n",
		"scripts/setup":     "#!/bin/sh\n",
		"scripts/x_test.go": "package scripts\n",
		"scripts/sub/x":     "",
		"bench/p.py":        "#!/usr/bin/env python3\n",
	})
	got, err := shellScripts(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.FromSlash(".ci/run"), filepath.FromSlash("scripts/setup")}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := shellScripts(t.TempDir()); err == nil {
		t.Error("a tree without scripts passes the check of its scripts")
	}
}

func noEnv(string) string { return "" }

func TestAttack_IsACheckOfItsOwnAmongTheLongOnes(t *testing.T) {
	root := write(t, map[string]string{"go.mod": goMod, "p.go": quiet})
	for _, full := range []bool{true, false} {
		var out, errs bytes.Buffer
		args := []string{"-root", root, "-list"}
		if full {
			args = append(args, "-full")
		}
		if code := run(t.Context(), args, noEnv, &out, &errs); code != 0 {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		if got := slices.Contains(strings.Split(out.String(), "\n"), "attack"); got != full {
			t.Errorf("-full is %t, and attack is listed: %t", full, got)
		}
	}
	const path = "broken.test/test/attack"
	if !attacks(path) || endsItsOwn(path) || makesFaults(path) || endsNone(path) || attacks("broken.test/test") {
		t.Error("the attacks belong to another check too, or to none")
	}
}
