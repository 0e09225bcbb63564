//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// newTestHub returns a hub, and its record.
func newTestHub(t *testing.T) (*hub, *record) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "chaos-test-") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	rec, err := newRecord(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHub(filepath.Join(dir, "hub"), rec, newProgress())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.EnvSocket, filepath.Join(dir, "hub"))
	t.Cleanup(func() {
		if err := errors.Join(h.close(), rec.close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return h, rec
}

// dial connects as a process of the run.
func dial(t *testing.T, h *hub, name, role string) (*wire.Conn, *peer) {
	t.Helper()
	t.Setenv(wire.EnvName, name)
	p := h.expect(name)
	c, err := wire.Dial(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // closed by the hub
	return c, p
}

func TestHub_RefusesTheEffectsOfAStaleRun(t *testing.T) {
	h, rec := newTestHub(t)
	a, _ := dial(t, h, "w1.1", "worker")
	b, _ := dial(t, h, "w2.1", "worker")
	for _, c := range []struct {
		conn *wire.Conn
		e    history.Effect
		want error
	}{
		{a, history.Effect{Seq: 1, Step: history.Begun, Fence: 10}, nil},
		{a, history.Effect{Seq: 1, Step: 0, Fence: 10}, nil},
		{b, history.Effect{Seq: 1, Step: history.Begun, Fence: 11}, nil},
		{a, history.Effect{Seq: 1, Step: 1, Fence: 10}, wire.ErrStale},
		{a, history.Effect{Seq: 2, Step: history.Begun, Fence: 10}, nil},
		{b, history.Effect{Seq: 1, Step: 0, Fence: 11}, nil},
	} {
		if err := c.conn.Effect(t.Context(), c.e); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%+v: %v, want %v", c.e, err, c.want)
		}
	}
	var stale []bool
	for i, e := range rec.all() {
		if e.N != int64(i+1) || e.Effect == nil || e.Effect.Process == "" {
			t.Fatalf("event %d is %+v", i+1, e)
		}
		stale = append(stale, e.Effect.Stale)
	}
	if want := []bool{false, false, false, true, false, false}; !slices.Equal(stale, want) {
		t.Errorf("recorded as stale: %v, want %v", stale, want)
	}
}

func TestHub_AProgramsEffectsAreThoseOfItsWorker(t *testing.T) {
	h, rec := newTestHub(t)
	c, p := dial(t, h, "w4.1", "program")
	p.mu.Lock()
	p.pid = 4711
	p.mu.Unlock()
	if err := c.Effect(t.Context(), history.Effect{Seq: 1, Step: history.Begun, Fence: 1}); err != nil {
		t.Fatal(err)
	}
	if e := rec.all()[0].Effect; e.PID != 4711 || e.Process != "w4.1" {
		t.Errorf("%+v", e)
	}
}

func TestHub_GivesACallToAClientAndItsAnswerBack(t *testing.T) {
	h, rec := newTestHub(t)
	c, p := dial(t, h, "c1.1", "client")
	if err := c.Ready(); err != nil {
		t.Fatal(err)
	}
	<-p.ready
	asked := p.asked()
	if err := p.call(history.Call{ID: 7, Op: history.Enqueue}); err != nil {
		t.Fatal(err)
	}
	<-asked
	if call := <-c.Calls(); call.ID != 7 {
		t.Errorf("the client got %+v", call)
	}
	if err := c.Answer(history.Answer{Call: 7, Outcome: history.Done}); err != nil {
		t.Fatal(err)
	}
	if a := <-p.answers; a.Call != 7 || a.Outcome != history.Done {
		t.Errorf("the answer is %+v", a)
	}
	p.hangUp()
	if _, open := <-c.Calls(); open {
		t.Error("the client was not told to end")
	}
	if e := rec.all()[0].Process; e == nil || e.What != history.Ready {
		t.Errorf("%+v", e)
	}
}

func TestHub_ComplainsAboutAProcessThatIsNotOfTheRun(t *testing.T) {
	dir := t.TempDir()
	rec, err := newRecord(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHub(filepath.Join(dir, "hub"), rec, newProgress())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.EnvSocket, filepath.Join(dir, "hub"))
	t.Setenv(wire.EnvName, "stranger")
	c, err := wire.Dial(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	if _, open := <-c.Calls(); open {
		t.Error("a stranger was called")
	}
	if err := h.close(); err == nil {
		t.Error("no complaint")
	}
	if err := rec.close(); err != nil {
		t.Error(err)
	}
}
