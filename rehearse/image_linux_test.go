package rehearse

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/internal/freeport"
)

// imageOf creates an image that contains only the server, built without a C library.
func imageOf(t *testing.T, user int) *Image {
	t.Helper()
	root := t.TempDir()
	text, err := os.ReadFile(server)
	if err != nil {
		t.Fatal(err)
	}
	if err := execfile.Write(filepath.Join(root, "server"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	own(t, root)
	return &Image{Root: root, User: user, Group: user, Env: []string{"PATH=/bin:/"}}
}

// own gives an image's files to the root of images.
func own(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if owner, ok := ImageOwner(0); ok && err == nil {
			return os.Lchown(path, owner, owner)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImage_ItsProgramIsRehearsedAsItsUser(t *testing.T) {
	t.Parallel()
	for _, user := range []int{0, 65532, 1_000_650_000} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{"server", "good"}, Env: []string{"ADDRESS=" + where}, Image: imageOf(t, user)},
				Traffic: []Target{{URL: "http://" + where}}, Grace: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if fails, warns := codes(r); !r.OK() || len(warns) > 0 || !slices.Contains(r.Passed, CutOff) {
				t.Errorf("user %d: fails %v, warns %v\n%s", user, fails, warns, describe(r))
			}
		})
	}
}

// confessed starts the server, in an image or on this machine, with instructions on what to reveal
// about itself, and returns its answer. If the parameter is set, a command alongside the running
// server answers instead.
func confessed(t *testing.T, c Container, beside bool) string {
	t.Helper()
	asked := c.Command
	if beside {
		c.Command, c.Env = []string{asked[0], "hangs"}, append(c.Env, "ADDRESS=127.0.0.1:0")
	}
	p, err := start(&c, false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill(t.Context())
	if beside {
		cmd, err := p.exec(asked)
		if err != nil {
			t.Fatal(err)
		}
		if c.Image != nil && !cmd.SysProcAttr.Setsid {
			t.Error("it is of the session of this terminal")
		}
		out, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		runErr := cmd.Run()
		text, err := os.ReadFile(out.Name())
		if err != nil || runErr != nil {
			t.Fatalf("%v, %v\n%s", err, runErr, text)
		}
		return string(text)
	}
	select {
	case <-p.drained:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	if p.code != 0 {
		t.Errorf("it ended with exit code %d", p.code)
	}
	return strings.Join(p.output.lines(1000), "\n") + "\n"
}

// asNobody runs a test again in this test binary as a user other than root, and reports whether it
// has done that.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv(serverEnv) != "" {
		return false
	}
	dir, err := os.MkdirTemp("", "nobody") //nolint:usetesting // t.TempDir is below a directory of root's
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, serverEnv+"="+server)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return true
}

// serverEnv is the variable with the server's path, for a process of this test binary that a test
// starts.
const serverEnv = "LASTCALL_TEST_REHEARSE_SERVER"

// containerCapabilities are those of a container, and noCapabilities is the empty set.
const containerCapabilities, noCapabilities = "00000000a80425fb", "0000000000000000"

// An image's program, and a command alongside it, have everything that a container has.
func TestImage_ItsProgramIsWhatTheImageSays(t *testing.T) {
	for _, user := range []int{0, 65532, 1_000_650_000} {
		for _, beside := range []bool{false, true} {
			t.Run(fmt.Sprint(user, beside), func(t *testing.T) {
				t.Parallel()
				im := imageOf(t, user)
				const fsGroup = 1_000_650_000
				im.Groups = []int{7, 8, fsGroup, fsGroup + 1}
				c := Container{Command: []string{"server", "rights"}, Env: []string{"COLOR=blue", "PATH=/nowhere:/"}, Dir: "/made/here", Image: im}
				groups, effective, processes := "[7 8 1000650000]", noCapabilities, 1
				if user == 0 {
					effective = containerCapabilities
				}
				bounding := containerCapabilities
				if !manyOwners() {
					groups = "[]"
				}
				if beside {
					processes = 2
				}
				want := fmt.Sprintf("user %d group %d groups %s\ndir /made/here\nhost rehearsal\nleads its session %v\nsees processes %d\n"+
					"CapInh: %s\nCapPrm: %s\nCapEff: %s\nCapBnd: %s\nCapAmb: %s\nNoNewPrivs: 1\n",
					user, user, groups, !beside, processes, noCapabilities, effective, effective, bounding, noCapabilities)
				got := confessed(t, c, beside)
				if beside && user != 0 && !manyOwners() {
					// nsenter does not change these, for a program that has no way to them.
					got, _, _ = strings.Cut(got, "CapBnd")
					want, _, _ = strings.Cut(want, "CapBnd")
				}
				if got != want {
					t.Errorf("it says\n%s\nwant\n%s", got, want)
				}
				c.Command[1] = "environment"
				if got, want := confessed(t, c, beside), "PATH=/nowhere:/\nCOLOR=blue\n"; strings.ReplaceAll(got, "ADDRESS=127.0.0.1:0\n", "") != want {
					t.Errorf("its environment is\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

func TestImage_ItsProgramIsWhatTheImageSaysWithoutRoot(t *testing.T) {
	if !asNobody(t) {
		TestImage_ItsProgramIsWhatTheImageSays(t)
	}
}

// Everything that the server tries succeeds outside of an image, for root: so the attempts are
// real.
func TestImage_NothingOfThisMachineIsReached(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// The process that has started this one may have left files open.
	left, err := syscall.Open(filepath.Dir(file), syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(left)
	const reaches = "\nreaches "
	if os.Geteuid() == 0 {
		got := "\n" + confessed(t, Container{Command: []string{server, "escapes", file}, Dir: t.TempDir()}, false)
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "does not reach") && !strings.Contains(line, "no such file") {
				t.Errorf("root itself %s", line)
			}
		}
	}
	for _, user := range []int{0, 65532} {
		for _, beside := range []bool{false, true} {
			got := "\n" + confessed(t, Container{Command: []string{"/server", "escapes", file}, Dir: "/tmp", Image: imageOf(t, user)}, beside)
			if strings.Contains(got, reaches) || strings.Count(got, "does not reach") != 10 {
				t.Errorf("user %d, beside the program %v:\n%s", user, beside, got)
			}
		}
	}
}

func TestImage_NothingOfThisMachineIsReachedWithoutRoot(t *testing.T) {
	if !asNobody(t) {
		TestImage_NothingOfThisMachineIsReached(t)
	}
}

// A run does not find what an earlier one has written.
func TestImage_ItsFilesAreTheSameInEachScenario(t *testing.T) {
	im := imageOf(t, 0)
	for range 2 {
		got := confessed(t, Container{Command: []string{"/server", "escapes", "/jail"}, Image: im}, false)
		if strings.HasPrefix(got, "reaches a file") {
			t.Errorf("what an earlier run has made is there:\n%s", got)
		}
	}
	entries, err := os.ReadDir(im.Root)
	if err != nil || len(entries) != 1 {
		t.Errorf("the image has %v (%v), want the server alone", entries, err)
	}
}

func TestImage_WhatCannotBeStartedIsAnErrorThatSaysWhy(t *testing.T) {
	script := imageOf(t, 0)
	if err := execfile.Write(filepath.Join(script.Root, "script"), []byte("#!/bin/bash\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := imageOf(t, 0)
	if err := os.Symlink("/", filepath.Join(link.Root, "proc")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		container Container
		want      string
	}{
		{Container{Command: []string{"nothing"}, Image: imageOf(t, 0)}, "executable file not found"},
		{Container{Command: []string{"/nothing\nPASS"}, Image: imageOf(t, 0)}, "no such file"},
		{Container{Command: []string{"/script"}, Image: script}, "the interpreter of its first line"},
		{Container{Command: []string{"/server", "good"}, Image: link}, "in the image: the image's files: /proc is no directory"},
		{Container{Command: []string{"/server", "good"}, Dir: "/server", Image: imageOf(t, 0)}, "in the image: the working directory: mkdir /server: not a directory"},
		{Container{Command: []string{"/server", "good"}, Image: &Image{Root: "/no/such/image"}}, "no such file"},
	} {
		_, err := Do(t.Context(), Config{Program: c.container})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", c.container.Command, err, c.want)
		}
	}
}

// An absolute link whose name has ".." ends in the image too, also before its program runs.
func TestImage_NoLinkLeadsToFilesOfThisMachine(t *testing.T) {
	asNobody(t)
	victim, err := os.MkdirTemp("/var/tmp", "victim") //nolint:usetesting // a rehearsal covers /tmp
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(victim)
	if err := os.Chmod(victim, 0o777); err != nil { // for the users of images
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(victim, "hosts"), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	im := imageOf(t, 0)
	if err := os.Symlink("/.."+victim, filepath.Join(im.Root, "etc")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(im.Root, victim), 0o777); err != nil {
		t.Fatal(err)
	}
	own(t, im.Root)
	confessed(t, Container{Command: []string{"/server", "rights"}, Dir: "/etc/work", Image: im}, false)
	if all, err := os.ReadDir(victim); err != nil || len(all) != 1 {
		t.Errorf("%v was created on this machine (%v)", all, err)
	}
	if text, err := os.ReadFile(filepath.Join(victim, "hosts")); err != nil || string(text) != "mine" {
		t.Errorf("a file of this machine has %q (%v)", text, err)
	}
}
