package sqlitestore

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/task"
)

// lockerEnv makes this test binary a program that only reads a file, and locks a byte of it.
const lockerEnv = "LASTCALL_TEST_LOCKS_FOR_READING"

func TestWriter_ALockForReadingThatStopsAllWritesIsToldWithItsProcess(t *testing.T) {
	if file := os.Getenv(lockerEnv); file != "" {
		holdForReading(file)
	}
	s, path := fresh(t)
	add := func(n int) error {
		_, err := s.Add(t.Context(), []task.NewTask{{ID: id(n), Kind: "k"}})
		return err
	}
	if err := add(1); err != nil {
		t.Fatal(err)
	}
	reader := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	reader.Env = append(os.Environ(), lockerEnv+"="+path+"-shm")
	reader.Stdin = pipe(t)
	out, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	want := fmt.Sprintf("process %d holds a lock for reading on %s-shm, with which nobody can write: end it (kill %d)", reader.Process.Pid, path, reader.Process.Pid)
	if err := add(2); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if err := reader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = reader.Wait() // killed
	if err := add(2); err != nil {
		t.Errorf("nobody holds a lock any more: %v", err)
	}
}

// holdForReading locks the byte of writers through a descriptor that can only read, and waits for
// its end.
func holdForReading(file string) {
	f, err := os.Open(file)
	if err == nil {
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: writeLock, Len: 1})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or the test ends
	os.Exit(0)
}

func TestBlocker_FindsTheLocksThatCoverTheByteOfWriters(t *testing.T) {
	for lock, want := range map[string]bool{"120 120": true, "0 EOF": true, "100 119": false, "121 EOF": false, "120 EOF": true, "x 1": false, "1 x": false} {
		from, to, _ := strings.Cut(lock, " ")
		if got := covers(from, to, writeLock); got != want {
			t.Errorf("%s: %v", lock, got)
		}
	}
}

// A lock of an open file (OFD) has no process in the kernel's list.
func TestBlocker_ALockOfAnOpenFileIsToldThoughNobodyKnowsWhose(t *testing.T) {
	s, path := fresh(t)
	f, err := os.Open(path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	// The file stays open: closing it would release SQLite's own locks on it.
	t.Cleanup(func() { _ = f.Close() })
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: writeLock, Len: 1}); err != nil {
		t.Skipf("no locks of open files here: %v", err)
	}
	if b, found := blockerOf(path + "-shm"); !found || !b.reads || b.pid > 0 {
		t.Fatalf("%+v, %v", b, found)
	}
	_, err = s.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k"}})
	if err == nil || !strings.Contains(err.Error(), "a process holds a lock for reading on "+path+"-shm") || !strings.Contains(err.Error(), "fuser -v") {
		t.Errorf("%v", err)
	}
}
