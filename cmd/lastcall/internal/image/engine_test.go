package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// fakeEngines puts shell scripts, by their names, into a directory that is the only one of PATH.
func fakeEngines(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := execfile.Write(filepath.Join(dir, name), []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// The scripts say what the engines' documentation says, and what the real ones have been seen to
// say.
func TestExport_TheFirstOfFakeEnginesThatHasTheImageExportsIt(t *testing.T) {
	archive := whole.write(t, true, nil)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	for name, scripts := range map[string]map[string]string{
		"podman": {
			"docker": `echo []; echo "Error response from daemon: No such image: $3" >&2; exit 1`,
			"podman": `case "$*" in "image inspect app:1") echo '[{}]';; "image save app:1") cat ` + archive + `;; *) exit 125; esac`,
			"ctr":    `case "$*" in *" list "*) echo docker.io/library/app:1;; *) exit 1; esac`,
		},
		"nerdctl": {
			"docker":  `echo []`,
			"nerdctl": `case "$*" in "image inspect app:1") echo '[{}]';; "save app:1") cat ` + archive + `;; *) exit 1; esac`,
		},
		"ctr": {"ctr": `case "$*" in
			"--connect-timeout 3s --namespace k8s.io images list --quiet name==docker.io/library/app:1") echo docker.io/library/app:1;;
			"--connect-timeout 3s --namespace k8s.io images export - docker.io/library/app:1") cat ` + archive + `;;
			*" default images list "*) ;;
			*) exit 1; esac`},
	} {
		fakeEngines(t, scripts)
		exported, err := Export(t.Context(), "app:1")
		if err != nil || exported == nil || exported.Engine != name {
			t.Errorf("%s: %+v, %v", name, exported, err)
			continue
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left (%v)", name, left, err)
		}
		im, err := Unpack(t.Context(), "app:1", exported)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c := im.Container(nil); c.Image.Name != "app:1 of "+name || im.User != 101 {
			t.Errorf("%s: %+v", name, c.Image)
		}
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
	fakeEngines(t, nil)
	if exported, err := Export(t.Context(), archive); exported != nil || err != nil {
		t.Errorf("a file: %v, %v", exported, err)
	}
}

func TestExport_WhatAnEngineCannotDoIsASentence(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	answers, exports := answerWithin, exportWithin
	t.Cleanup(func() { answerWithin, exportWithin = answers, exports })
	answerWithin, exportWithin = 5*time.Second, 5*time.Second
	const has = `test "$2" = inspect && echo '[{}]' && exit;`
	for _, c := range []struct {
		name    string
		scripts map[string]string
		within  time.Duration
		want    string
	}{
		{"app:1", nil, 0, "image app:1: no such file or directory, and none of docker, podman, nerdctl and ctr is installed"},
		{"./app.tar", nil, 0, "no such file or directory, and it cannot be the name of an image"},
		{"--network", nil, 0, "it cannot be the name of an image"},
		{"App", nil, 0, "must be lowercase"},
		{"a\nb", nil, 0, "image a\ufffdb: no such file"},
		{"app:1", map[string]string{"docker": `echo "Cannot connect to the Docker daemon" >&2; exit 1`}, 0, "docker says: Cannot connect to the Docker daemon"},
		{"app:1", map[string]string{"podman": `echo a warning >&2; printf 'Error: \033[2Jimage not known\n' >&2; exit 125`}, 0, "podman says: \ufffd[2Jimage not known"},
		{"app:1", map[string]string{"podman": `exit 3`}, 0, "podman says: exit status 3"},
		{"app:1", map[string]string{"ctr": `true`}, 0, "ctr says: it has no such image"},
		{"app:1", map[string]string{"docker": `exec sleep 60`}, 50 * time.Millisecond, "docker says: it does not answer within 50ms"},
		{"app:1", map[string]string{"docker": has + `echo "no space left" >&2; exit 1`}, 0, "docker has it, and does not export it: no space left"},
		{"app:1", map[string]string{"docker": has + `exec sleep 60`}, 400 * time.Millisecond, "docker has it, and does not export it: it takes more than 400ms"},
	} {
		fakeEngines(t, c.scripts)
		if c.within > 0 {
			exportWithin = c.within
			if !strings.Contains(c.want, "takes more") {
				answerWithin = c.within
			}
		}
		exported, err := Export(t.Context(), c.name)
		if exported != nil || err == nil || !strings.Contains(err.Error(), c.want) || regexp.MustCompile(`[^\PC]`).MatchString(err.Error()) {
			t.Errorf("%q: %+v, %v, want %q", c.name, exported, err, c.want)
		}
		answerWithin, exportWithin = 5*time.Second, 5*time.Second
	}
	fakeEngines(t, map[string]string{"podman": has + "echo this is no tar"})
	exported, err := Export(t.Context(), "app:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(t.Context(), "app:1", exported); !errors.Is(err, errNoImage) {
		t.Errorf("what is no archive: %v", err)
	}
	fakeEngines(t, map[string]string{"podman": "exec sleep 60"})
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	stop(enough)
	if _, err := Export(ctx, "app:1"); !errors.Is(err, enough) {
		t.Errorf("Ctrl-C: %v", err)
	}
}
