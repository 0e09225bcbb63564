package execkind

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestTmpLimit_AProgramThatTakesTooMuchIsKilledWithItsTreeAndHasUsedAnAttempt(t *testing.T) {
	f := newFixture(t, `
		(mkdir "$TMPDIR/d"; head -c 3000000 /dev/zero > "$TMPDIR/d/x"; sleep 1000) & echo $! > child
		trap '' TERM; while :; do sleep 1000; done`)
	f.kind.MaxTmp = 1 << 20
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusFailed, "", 1, 0, 0, "its limit of TMPDIR (1Mi) was exceeded: the program was killed; let it write less there, or raise limits.tmpdir of kind k")
	f.stop()
	if strings.Contains(f.log.String(), "did not end it in time") {
		t.Errorf("the shim did not obey:\n%s", f.log.String())
	}
}

func TestTmpLimit_LeavesThoseAloneWhoStayBelow(t *testing.T) {
	f := newFixture(t, `head -c 500000 /dev/zero > "$TMPDIR/x"; ln "$TMPDIR/x" "$TMPDIR/y"; ln -s / "$TMPDIR/root"; truncate -s 1G "$TMPDIR/hole"; sleep 0.8`)
	f.kind.MaxTmp = 1 << 20
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
	f.stop()
}

func TestUsage_CountsBlocksOnceAndFollowsNothing(t *testing.T) {
	d, path := runFolder(t, t.TempDir())
	defer d.close()
	const size = 256 << 10
	big := filepath.Join(path, "tmp", "deep", "big")
	if err := os.WriteFile(big, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(os.Link(big, filepath.Join(path, "again")), os.Symlink("/", filepath.Join(path, "root")),
		syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600), os.Chmod(filepath.Join(path, "tmp", "deep"), 0))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.usage(1 << 40); err != nil || n < size || n > size+64<<10 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := d.usage(1000); err != nil || n <= 1000 {
		t.Errorf("beyond a limit: %d bytes, %v", n, err)
	}
}

func TestUsage_WhatIsTooDeepToBeMeasuredIsSaid(t *testing.T) {
	d, path := runFolder(t, t.TempDir())
	defer d.close()
	t.Chdir(path)
	for range 50 {
		name := strings.Repeat("d", 200)
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Chdir(name) // the whole path would be too long
	}
	if _, err := d.usage(1 << 40); !errors.Is(err, errTooDeep) {
		t.Errorf("%v", err)
	}
	if err := d.remove(); err != nil {
		t.Error(err)
	}
}
