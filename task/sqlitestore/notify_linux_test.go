package sqlitestore

import (
	"path/filepath"
	"testing"
	"time"
)

func TestClose_DoesNotWaitUntilTheKernelHasReleasedTheWatch(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "tasks.db")})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := s.watch.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// While a call uses the file, it is not closed: so the kernel can be as slow as it likes.
	used, release, free := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		free <- watch.Control(func(uintptr) {
			close(used)
			<-release
		})
	}()
	<-used
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the store waits")
	}
	close(release)
	if err := <-free; err != nil {
		t.Error(err)
	}
	// Nobody waits for that, but it is closed.
	for late := time.After(10 * time.Second); watch.Control(func(uintptr) {}) == nil; {
		select {
		case <-late:
			t.Fatal("the watch is not closed")
		case <-time.After(time.Millisecond):
		}
	}
}
