package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newDirectory returns a run's directory, and its path.
func newDirectory(t *testing.T) (*folder, string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	s, err := newScratch([]byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.folder.close)
	return s.folder, s.dir
}

// inTime fails the test if a call blocks.
func inTime(t *testing.T, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	if !closedWithin(patience, done) {
		t.Fatalf("%s: it waits", what)
	}
}

// odds are the kinds of file that a program can put in the place of a regular one, by name.
func odds(t *testing.T) map[string]func(path string) error {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]func(path string) error{
		"a pipe":                    func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a directory":               func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":                    func(path string) error { return os.Symlink(secret, path) },
		"a link beside it":          func(path string) error { return os.Symlink(payloadName, path) },
		"a link to the environment": func(path string) error { return os.Symlink("/proc/self/environ", path) },
		"a link to an open file":    func(path string) error { return os.Symlink("/proc/self/fd/0", path) },
		"a link to a device":        func(path string) error { return os.Symlink("/dev/zero", path) },
		"a link to nothing":         func(path string) error { return os.Symlink("/no/such/file", path) },
		"another file's second name": func(path string) error {
			return os.Link(secret, path)
		},
	}
	if os.Geteuid() == 0 {
		all["a device"] = func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) }
		all["another user's file"] = func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("secret"), 0o600), os.Chown(path+".new", 65534, 65534), os.Rename(path+".new", path))
		}
	}
	return all
}

func TestCheckpoint_WhatIsNoPlainFileIsNeitherReadNorWaitedFor(t *testing.T) {
	for name, put := range odds(t) {
		t.Run(name, func(t *testing.T) {
			l, dir := newLedger(t)
			if err := put(filepath.Join(dir, checkpointName)); err != nil {
				t.Fatal(err)
			}
			inTime(t, name, func() {
				if _, isNew := looks(t, l); isNew {
					t.Error("it was read")
				}
				if b, isNew, err := l.last(); isNew || err == nil || !strings.Contains(err.Error(), "checkpoint is no regular file of its own") {
					t.Errorf("at the end: %q, %v, %v", b, isNew, err)
				}
			})
		})
	}
	l, _ := newLedger(t)
	if _, isNew, err := l.last(); isNew || err != nil {
		t.Errorf("nothing: %v, %v", isNew, err)
	}
}

// Another file takes a file's place between the check of its name and the opening.
func TestCheckpoint_ThatIsReplacedWhileItIsOpenedIsRefusedToo(t *testing.T) {
	for name, put := range odds(t) {
		t.Run(name, func(t *testing.T) {
			l, dir := newLedger(t)
			path := filepath.Join(dir, checkpointName)
			stop := make(chan struct{})
			swapped := make(chan error, 1)
			go func() { // as a program would
				var err error
				for err == nil && !closedWithin(0, stop) {
					err = errors.Join(os.RemoveAll(path), put(path), os.RemoveAll(path), os.WriteFile(path, []byte("plain"), 0o600))
				}
				swapped <- err
			}()
			inTime(t, name, func() {
				for range 300 {
					if b, isNew, _ := l.last(); isNew && string(b) != "plain" {
						t.Errorf("read %q", b)
					}
				}
			})
			close(stop)
			if err := <-swapped; err != nil {
				t.Error(err)
			}
		})
	}
}

// A disk that has failed is mounted read-only, and the last checkpoint is still there.
func TestCheckpoint_OnAFileSystemThatIsReadOnlyIsRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts a directory read-only")
	}
	l, dir := newLedger(t)
	if err := os.WriteFile(filepath.Join(dir, checkpointName), []byte("7"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	at, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	readOnly := *l.folder
	readOnly.File = at // opened before, it would be of the mount below
	l.folder = &readOnly
	if b, isNew, err := l.last(); string(b) != "7" || !isNew || err != nil {
		t.Errorf("%q, %v, %v", b, isNew, err)
	}
}

// A file of somebody else has a name here for a moment, again and again. While the kernel takes a
// name away, the file is found there, and has one name.
func TestFolder_AFileWhoseOtherNameComesAndGoesIsNeverOpened(t *testing.T) {
	long := 10 * time.Second
	if testing.Short() {
		t.Log("make test-full: ten seconds instead of one")
		long = time.Second
	}
	d, dir := newDirectory(t)
	secret, path := filepath.Join(t.TempDir(), "secret"), filepath.Join(dir, "file")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	swapped := make(chan error, 1)
	go func() { // as a program would
		var err error
		for err == nil && !closedWithin(0, stop) {
			err = errors.Join(os.Link(secret, path), os.Remove(path))
		}
		swapped <- err
	}()
	opened, looks := 0, 0
	for end := time.Now().Add(long); time.Now().Before(end); looks++ {
		if f, err := d.open("file"); err == nil {
			opened++
			f.Close()
		}
	}
	close(stop)
	if err := <-swapped; err != nil {
		t.Error(err)
	}
	if opened > 0 {
		t.Errorf("it was opened %d times, in %d looks", opened, looks)
	}
}

func TestCheckpoint_OfATerabyteAndOneThatGrowsAreNotReadToTheirEnd(t *testing.T) {
	l, dir := newLedger(t)
	path := filepath.Join(dir, checkpointName)
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)); err != nil {
		t.Fatal(err)
	}
	inTime(t, "a terabyte", func() {
		if _, isNew, err := l.last(); isNew || err == nil || !strings.Contains(err.Error(), "the checkpoint has 1099511627776 bytes") {
			t.Errorf("%v, %v", isNew, err)
		}
	})
}

func TestStopFile_IsWrittenWhateverStandsInItsPlaceAndNothingElseIs(t *testing.T) {
	for name, put := range odds(t) {
		t.Run(name, func(t *testing.T) {
			f, dir := newDirectory(t)
			victim := filepath.Join(dir, stopName)
			for _, at := range []string{stopName, stopName + ".new"} {
				if err := put(filepath.Join(dir, at)); err != nil {
					t.Fatal(err)
				}
			}
			n := notice{folder: f}
			inTime(t, name, func() {
				err := <-n.post("one\n")
				b, readErr := os.ReadFile(victim)
				switch {
				case name == "a directory" && (err == nil || !strings.Contains(err.Error(), "stop file")):
					t.Errorf("in the place of a directory: %v", err)
				case name != "a directory" && (err != nil || readErr != nil || string(b) != "one\n"):
					t.Errorf("%v; %q, %v", err, b, readErr)
				}
				n.Wait()
			})
			if b, err := os.ReadFile(filepath.Join(dir, payloadName)); err != nil || string(b) != "{}" {
				t.Errorf("the payload is %q, %v", b, err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, ".lastcall-*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

func TestStopFile_ALaterLineIsNotReplacedByAnEarlierOne(t *testing.T) {
	f, dir := newDirectory(t)
	n := notice{folder: f}
	n.mu.Lock() // the disk is slow
	var written []<-chan error
	for i := range 20 {
		written = append(written, n.post(fmt.Sprintf("%d\n", i)))
	}
	n.mu.Unlock()
	for _, w := range written {
		if err := <-w; err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, stopName)); err != nil || string(b) != "19\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFolder_ThatWasMovedAndReplacedIsStillTheRunsAndIsRemoved(t *testing.T) {
	precious := t.TempDir()
	kept := filepath.Join(precious, checkpointName)
	if err := os.WriteFile(kept, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, dir := newLedger(t)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, checkpointName), []byte("mine"), 0o600),
		os.Rename(dir, dir+".moved"), os.Symlink(precious, dir)); err != nil {
		t.Fatal(err)
	}
	if b, isNew, err := l.last(); !isNew || err != nil || string(b) != "mine" {
		t.Errorf("read %q, %v, %v", b, isNew, err)
	}
	if err := l.folder.remove(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != "precious" {
		t.Errorf("what the link led to: %q, %v", b, err)
	}
}

func TestFolder_WhatAProgramHasLockedIsRemovedAllTheSame(t *testing.T) {
	f, dir := newDirectory(t)
	deep := filepath.Join(dir, tmpName, "a", "b")
	if err := errors.Join(os.MkdirAll(filepath.Join(deep, "c", "d"), 0o700), os.WriteFile(filepath.Join(deep, "e"), nil, 0),
		os.Chmod(filepath.Join(deep, "c"), 0o500), os.Chmod(deep, 0), os.Chmod(filepath.Dir(deep), 0o500), os.Chmod(dir, 0)); err != nil {
		t.Fatal(err)
	}
	if err := f.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestFolder_ADeepTreeIsRemovedWithAFewDescriptors(t *testing.T) {
	f, dir := newDirectory(t)
	levels := 30_000
	if testing.Short() {
		t.Log("make test-full: 30,000 levels instead of 3,000")
		levels = 3_000
	}
	at, err := unix.Open(filepath.Join(dir, tmpName), openDir, 0)
	for n := 0; n < levels && err == nil; n++ {
		if err = unix.Mkdirat(at, "d", 0o700); err == nil {
			above := at
			at, err = unix.Openat(above, "d", openDir, 0)
			err = errors.Join(err, unix.Close(above))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(at); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = f.remove()
	t.Logf("it took %v", time.Since(began))
	if err := errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)); err != nil {
		t.Errorf("%.1000s", err.Error())
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestFolder_WhatCannotBeRemovedIsToldInALineAndHoldsBackNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts are made as root: run as root")
	}
	f, dir := newDirectory(t)
	name := strings.Repeat("m", 200)
	mount := filepath.Join(dir, tmpName, name, name)
	if err := errors.Join(os.MkdirAll(mount, 0o700), os.WriteFile(filepath.Join(dir, tmpName, "x"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", mount, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("mounts are needed: %v", err)
	}
	err := f.remove()
	if err == nil || len(err.Error()) > 600 || !strings.Contains(err.Error(), "is left behind") {
		t.Errorf("%v", err)
	}
	var files int
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files > 0 {
		t.Errorf("%d files are left, %v", files, err)
	}
	// It may have been moved up.
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[1]; strings.HasPrefix(at, dir) {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
}
