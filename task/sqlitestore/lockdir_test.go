//go:build linux || darwin

package sqlitestore

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestLockDir_AWorkerIsAliveAsLongAsItsLockIsHeldByAnyStore(t *testing.T) {
	a, path := fresh(t)
	if _, err := a.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	b := openAt(t, path)
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := life(t, b, "w"); got != task.LivenessAlive {
		t.Errorf("seen by a neighbour: %s", got)
	}
	a.locks.release("w", false) // what the kernel does when the process dies
	if got := life(t, b, "w"); got != task.LivenessDead {
		t.Errorf("after its death: %s", got)
	}
	if _, err := os.Stat(a.locks.path("w")); err != nil {
		t.Errorf("the file is needed until somebody has reclaimed: %v", err)
	}
	if left, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Max: 1}); err != nil || !left.Done {
		t.Fatalf("%+v, %v", left, err)
	}
	if _, err := os.Stat(a.locks.path("w")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestLockDir_AWorkerIsSeenAliveThroughLinksThatWereMadeLater(t *testing.T) {
	a, path := fresh(t)
	if _, err := a.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, parent := filepath.Join(dir, "link.db"), filepath.Join(dir, "link")
	if err := errors.Join(os.Symlink(path, file), os.Symlink(filepath.Dir(path), parent)); err != nil {
		t.Fatal(err)
	}
	for _, through := range []string{file, filepath.Join(parent, "tasks.db")} {
		b := openAt(t, through)
		if got := life(t, b, "w"); got != task.LivenessAlive {
			t.Errorf("seen through %s: %s", through, got)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := filepath.Glob(file + "-*"); err != nil || len(left) > 0 {
		t.Errorf("next to the link: %v, %v", left, err)
	}
}

func TestLockDir_ASharedLockHoldsUntilItsLastDescriptorIsClosed(t *testing.T) {
	a, path := fresh(t)
	if _, err := a.InheritLock("w"); !errors.Is(err, task.ErrWorkerGone) {
		t.Errorf("of a worker that is not registered: %v", err)
	}
	if _, err := a.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	shared, err := a.InheritLock("w")
	if err != nil {
		t.Fatal(err)
	}
	// Another process inherits the lock, and outlives the store.
	other := exec.Command("cat")
	other.Stdin, other.ExtraFiles = pipe(t), []*os.File{shared}
	if err := errors.Join(other.Start(), shared.Close()); err != nil {
		t.Fatal(err)
	}
	b := openAt(t, path)
	defer b.Close()
	a.locks.release("w", false)
	if got := life(t, b, "w"); got != task.LivenessAlive {
		t.Errorf("while the other process lives: %s", got)
	}
	if _, err := b.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Evidence: true, Max: 1}); !errors.Is(err, task.ErrWorkerAlive) {
		t.Errorf("reclaimed by evidence: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // killed
	if got := life(t, b, "w"); got != task.LivenessDead {
		t.Errorf("after its death: %s", got)
	}
}

func TestLockDir_ASharedLockIsNotInheritedByWhomItIsNotHandedTo(t *testing.T) {
	a, path := fresh(t)
	if _, err := a.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	shared, err := a.InheritLock("w")
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("cat")
	other.Stdin = pipe(t)
	if err := errors.Join(other.Start(), shared.Close()); err != nil {
		t.Fatal(err)
	}
	b := openAt(t, path)
	defer b.Close()
	a.locks.release("w", false)
	if got := life(t, b, "w"); got != task.LivenessDead {
		t.Errorf("another process holds it: %s", got)
	}
	_ = other.Process.Kill()
	_ = other.Wait() // killed
}

// pipe returns the reading end of a pipe whose other end stays open.
func pipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

func TestLockDir_ALockOfAnotherBootIsNoEvidence(t *testing.T) {
	s, path := fresh(t)
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	s.locks.release("w", false)
	if _, err := rawDB(t, path).ExecContext(t.Context(), `update workers set boot = 'before'`); err != nil {
		t.Fatal(err)
	}
	if got := life(t, s, "w"); got != task.LivenessUnknown {
		t.Errorf("life is %s", got)
	}
	req := task.ReclaimRequest{Worker: "w", Evidence: true, Seq: 1, Max: 1}
	if _, err := s.Reclaim(t.Context(), req); !errors.Is(err, task.ErrWorkerAlive) {
		t.Errorf("with evidence: %v", err)
	}
	req.Evidence = false
	if left, err := s.Reclaim(t.Context(), req); err != nil || !left.Done {
		t.Errorf("by lease: %+v, %v", left, err)
	}
}

func TestLockDir_AMissingLockFileIsNoEvidenceAndIsNotMade(t *testing.T) {
	s, _ := fresh(t)
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.locks.path("w")); err != nil {
		t.Fatal(err)
	}
	if got := life(t, s, "w"); got != task.LivenessUnknown {
		t.Errorf("life is %s", got)
	}
	if _, err := os.Stat(s.locks.path("w")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made the file: %v", err)
	}
}

func TestLockDir_OpeningTidiesUpLockFilesOfNobody(t *testing.T) {
	s, path := fresh(t)
	for _, w := range []string{"orphan", "held", "registered"} {
		if _, err := s.locks.take(w); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Heartbeat(t.Context(), beat("registered", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	s.locks.release("orphan", false)
	s.locks.release("registered", false)
	b := openAt(t, path)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for w, want := range map[string]bool{"orphan": false, "held": true, "registered": true} {
		if _, err := os.Stat(s.locks.path(w)); (err == nil) != want {
			t.Errorf("%s: %v", w, err)
		}
	}
}

func life(t *testing.T, s *Store, worker string) task.Liveness {
	t.Helper()
	all, err := s.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if w.Worker == worker {
			return w.Liveness
		}
	}
	t.Fatalf("no worker %s in %+v", worker, all)
	return ""
}
