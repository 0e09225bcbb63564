//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDemo_ItsDirectoryIsItsOwnAlone(t *testing.T) {
	dir := t.TempDir()
	before := syscall.Umask(0)
	t.Cleanup(func() { syscall.Umask(before) })
	for range 2 { // the second time it is there
		made, err := privateDir(filepath.Join(dir, "deep", "demo"))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}

func TestDemo_ADirectoryThatOthersMayHaveFilledIsRefused(t *testing.T) {
	const nobody = 65534
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    string
		root    bool
	}{
		"open to others":  {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o711)) }, "is open to others (mode 0711)", false},
		"a link":          {func(dir string) error { return os.Symlink(t.TempDir(), dir) }, "is a link or a file", false},
		"a dangling link": {func(dir string) error { return os.Symlink("nowhere", dir) }, "is a link or a file", false},
		"a file":          {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is a link or a file", false},
		"another user's":  {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, -1)) }, "belongs to another user", true},
		"in a directory that all can write": {func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o777) },
			"another user can change what is in", false},
		"in another user's": {func(dir string) error { return os.Chown(filepath.Dir(dir), nobody, -1) },
			"another user can change what is in", true},
	} {
		if c.root && os.Geteuid() != 0 {
			t.Logf("%s: left out, since only root can give files away", name)
			continue
		}
		dir := filepath.Join(t.TempDir(), "demo")
		if err := c.prepare(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := privateDir(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		// The command itself says so, before it opens what is there.
		if _, _, err := run(t, "demo", "--dir", dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: lastcall demo: %v", name, err)
		}
	}
}

func TestDemo_ItsDefaultDirectoryIsInTheUsersOwnDirectory(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	t.Setenv("HOME", "/home/u")
	if got := defaultDemoDir(); got != "/state/lastcall-demo" {
		t.Error(got)
	}
	t.Setenv("XDG_STATE_HOME", "")
	if got := defaultDemoDir(); got != "/home/u/.local/state/lastcall-demo" {
		t.Error(got)
	}
}

func TestSecretFile_ThatOthersCanReadIsToldToEveryCommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	if err := os.WriteFile(path, []byte("sqlite:x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, loose := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o440: false, 0o640: false, 0o644: true, 0o602: true, 0o660: true, 0o666: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, to := range []target{{storeFile: path}, {tokenFile: path}} {
			if got := to.looseFiles(); (len(got) == 1) != loose || loose && !strings.Contains(got[0], "run chmod 600 "+path) {
				t.Errorf("mode %#o, %+v: %q", mode, to, got)
			}
		}
	}
	t.Setenv(tokenFileEnv, path)                  // the file has the mode of a round above
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // on purpose
		t.Fatal(err)
	}
	if got := (&target{}).looseFiles(); len(got) != 1 {
		t.Errorf("$%s: %q", tokenFileEnv, got)
	}
	t.Setenv(tokenEnv, "secret") // this variable overrides the other
	if got := (&target{}).looseFiles(); len(got) != 0 {
		t.Errorf("$%s: %q", tokenEnv, got)
	}
}
