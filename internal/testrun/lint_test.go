package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestGolangciLint_WhatIsWrongInACloneIsFoundInTheNextOneToo(t *testing.T) {
	if _, err := exec.LookPath("golangci-lint"); err != nil {
		t.Skip("golangci-lint is not installed: run make setup, and this test through make test")
	}
	t.Parallel()
	settings, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	const wrong = "func F() { for i := 0; i < 3; i++ { g() } }\n"
	for _, c := range []struct{ body, want string }{
		{wrong, "a/p.go:6:"}, {"func F() { g() }\n", ""}, {wrong, "a/p.go:6:"}, {"\n" + wrong, "a/p.go:7:"},
	} {
		root := write(t, map[string]string{
			".golangci.yml": string(settings),
			"go.work":       "go 1.26\n\nuse ./a\n",
			"a/go.mod":      goMod,
			"a/p.go":        quiet + "\nfunc g() {}\n\n" + c.body,
		})
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"-root", root, "-only", "^golangci-lint$"}, noEnv, &out, &errs)
		if (c.want == "") != (code == 0) || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: exit code %d, want %q in\n%s%s", c.body, code, c.want, &out, &errs)
		}
	}
}
