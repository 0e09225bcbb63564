package execkind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// saveless is a store that records how runs end, but fails to save checkpoints.
type saveless struct {
	task.Store
	refused chan struct{} // buffered for one; receives when a save was refused
}

func (s saveless) Apply(ctx context.Context, changes []task.Change) []error {
	if changes[0].Status != task.StatusRunning {
		return s.Store.Apply(ctx, changes)
	}
	select {
	case s.refused <- struct{}{}:
	default:
	}
	errs := make([]error, len(changes))
	for i := range errs {
		errs[i] = errors.New("the store is away")
	}
	return errs
}

// withoutSaves creates a fixture whose program, once started, has tried in vain to save, and goes
// on when a file exists.
func withoutSaves(t *testing.T, onStop task.OnStop, script string) (*fixture, <-chan struct{}) {
	t.Helper()
	f := newFixture(t, `echo 5 > "$LASTCALL_CHECKPOINT"; `+script)
	refused := make(chan struct{}, 1)
	f.kind.OnStop = onStop
	f.through = func(s task.Store) task.Store { return saveless{s, refused} }
	f.serve(time.Minute)
	return f, refused
}

func TestSave_ThatWaitsForTheStoreHoldsUpNoEndOfAProgram(t *testing.T) {
	f, refused := withoutSaves(t, task.FinishOnStop, `while ! [ -e go ]; do sleep 0.02; done; exit 0`)
	id := f.enqueue("{}")
	<-refused
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := f.ends(id); got.Status != task.StatusSucceeded {
		t.Errorf("%+v", got)
	}
	f.stop()
}

func TestSave_ThatWaitsForTheStoreGoesWithTheEndOfAProgramInAStop(t *testing.T) {
	f, refused := withoutSaves(t, task.InterruptOnStop, `trap 'exit 9' TERM; while :; do sleep 0.02; done`)
	id := f.enqueue("{}")
	<-refused
	began := time.Now()
	f.stop()
	got, err := f.client.Get(t.Context(), id)
	if err != nil || got.Status != task.StatusInterrupted || string(got.Checkpoint) != `{"text":"5\n"}` {
		t.Errorf("%+v, %v", got, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop took %v of a minute", took)
	}
}
