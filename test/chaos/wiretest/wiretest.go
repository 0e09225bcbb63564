// Package wiretest has a tiny chaos harness for the tests of drivers. It starts a driver's
// processes, records their effects, sends verdicts, and sends calls to the client.
//
// A process is the test binary again. Its TestMain executes the driver's command when [Driver]
// returns true.
package wiretest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// driverVariable makes the test binary act as the driver.
const driverVariable = "CHAOS_TEST_DRIVER"

// Driver reports whether this process is to act as the driver, whose arguments are those of
// os.Args.
func Driver() bool { return os.Getenv(driverVariable) != "" }

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

// Harness is the harness of one test.
type Harness struct {
	// Store is the store's address for the processes.
	Store string

	t       testing.TB
	socket  string
	answers chan history.Answer

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each change
	effects []history.Effect
	fences  map[int]int64
	ready   map[string]bool
	conns   map[string]net.Conn
	left    []string
	calls   int64
	client  *json.Encoder
}

// New returns a harness that ends with the test.
func New(t testing.TB, store string) *Harness {
	t.Helper()
	h := &Harness{Store: store, t: t, socket: filepath.Join(t.TempDir(), "s"), answers: make(chan history.Answer, 1), changed: make(chan struct{}),
		fences: make(map[int]int64), ready: make(map[string]bool), conns: make(map[string]net.Conn)}
	l, err := net.Listen("unix", h.socket) //nolint:noctx // it is closed below
	if err != nil {
		t.Fatal(err)
	}
	var routines sync.WaitGroup
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		routines.Wait()
	})
	routines.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			routines.Go(func() { h.serve(conn) })
		}
	})
	return h
}

// serve reads what a process sends until its connection ends.
func (h *Harness) serve(conn net.Conn) {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	var name string
	for {
		var m wire.Message
		if err := in.Decode(&m); err != nil {
			return
		}
		h.mu.Lock()
		if m.Hello != nil {
			name = m.Hello.Name
			h.conns[name] = conn
		}
		h.take(name, m, out)
		close(h.changed)
		h.changed = make(chan struct{})
		h.mu.Unlock()
	}
}

// take handles a message of the named process. The caller holds the lock.
func (h *Harness) take(name string, m wire.Message, out *json.Encoder) {
	switch {
	case m.Hello != nil && m.Hello.Role == "client":
		h.client = out
	case m.Ready:
		h.ready[name] = true
	case m.Effect != nil:
		e := *m.Effect
		e.Stale = e.Fence < h.fences[e.Seq]
		h.fences[e.Seq] = max(h.fences[e.Seq], e.Fence)
		h.effects = append(h.effects, e)
		// The process may have gone.
		_ = out.Encode(wire.Reply{Verdict: &wire.Verdict{N: m.N, Stale: e.Stale}})
	case m.Answer != nil:
		h.answers <- *m.Answer
	case m.Left != "":
		h.left = append(h.left, m.Left)
	}
}

// await waits until has returns true. The harness is locked while has runs.
func (h *Harness) await(what string, has func() bool) {
	h.t.Helper()
	timeout := time.After(patience)
	for {
		h.mu.Lock()
		ok, changed := has(), h.changed
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			h.t.Fatalf("waiting for %s, with the effects %+v", what, h.Effects())
		}
	}
}

// Effects returns all effects, including the refused ones.
func (h *Harness) Effects() []history.Effect {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.effects)
}

// AwaitStep waits until a task has had the given number of accepted effects of a step.
func (h *Harness) AwaitStep(seq, step, times int) {
	h.t.Helper()
	h.await(fmt.Sprintf("step %d of task %d", step, seq), func() bool {
		n := 0
		for _, e := range h.effects {
			if e.Seq == seq && e.Step == step && !e.Stale {
				n++
			}
		}
		return n >= times
	})
}

// AwaitAny waits until any task has had an accepted effect of a step, and returns its number.
func (h *Harness) AwaitAny(step int) (seq int) {
	h.t.Helper()
	h.await(fmt.Sprintf("step %d of any task", step), func() bool {
		i := slices.IndexFunc(h.effects, func(e history.Effect) bool { return e.Step == step && !e.Stale })
		if i >= 0 {
			seq = h.effects[i].Seq
		}
		return i >= 0
	})
	return seq
}

// Did summarizes the accepted effects of a task: the steps of each run.
func (h *Harness) Did(seq int) string {
	var words []string
	for _, e := range h.Effects() {
		switch {
		case e.Seq != seq || e.Stale:
		case e.Step == history.Begun:
			words = append(words, fmt.Sprintf("begun at %d:", e.Resumed))
		case e.Step == history.HandedOver:
			words = append(words, fmt.Sprintf("handed over at %d", e.Resumed))
		case e.Step == history.Finished:
			words = append(words, "finished")
		case e.Step == history.Returned:
			words = append(words, fmt.Sprintf("returned %d", e.Resumed))
		default:
			words = append(words, fmt.Sprint(e.Step))
		}
	}
	return strings.Join(words, " ")
}

// WantHandedOver fails the test unless, after what it did before, a task of that many steps began
// at the first one, was handed over once after the second one and before the last, and was finished
// from there. How many steps it takes until the stop arrives is up to the machine.
func (h *Harness) WantHandedOver(seq, steps int, before string) {
	h.t.Helper()
	list := func(from, to int) string {
		text := ""
		for i := from; i < to; i++ {
			text += fmt.Sprintf("%d ", i)
		}
		return text
	}
	got := h.Did(seq)
	for at := 2; at < steps; at++ {
		want := fmt.Sprintf("%sbegun at 0: %shanded over at %d begun at %d: %sfinished", before, list(0, at), at, at, list(at, steps))
		if got == want {
			return
		}
	}
	h.t.Errorf("task %d was not handed over once, in the middle: %s", seq, got)
}

// Overtake makes the harness refuse what the current run of a task writes from now on, and waits
// until a newer run has written.
func (h *Harness) Overtake(seq int) {
	h.t.Helper()
	h.mu.Lock()
	stale := h.fences[seq] + 1
	h.fences[seq] = stale
	h.mu.Unlock()
	h.await("a newer run", func() bool { return h.fences[seq] > stale })
}

// Drop ends the connection to a process.
func (h *Harness) Drop(name string) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.conns[name].Close(); err != nil {
		h.t.Error(err)
	}
}

// Left returns what processes have reported as left behind.
func (h *Harness) Left() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.left)
}

// Ask sends a call to the client and returns the answer.
func (h *Harness) Ask(c history.Call) history.Answer {
	h.t.Helper()
	h.mu.Lock()
	h.calls++
	c.ID = h.calls
	err := h.client.Encode(wire.Reply{Call: &c})
	h.mu.Unlock()
	if err != nil {
		h.t.Fatal(err)
	}
	select {
	case a := <-h.answers:
		if a.Call != c.ID {
			h.t.Fatalf("an answer to call %d, want one to call %d", a.Call, c.ID)
		}
		return a
	case <-time.After(patience):
		h.t.Fatalf("no answer to %+v", c)
		panic("unreachable")
	}
}

// Enqueue makes the client enqueue plans.
func (h *Harness) Enqueue(plans ...history.Plan) {
	h.t.Helper()
	if a := h.Ask(history.Call{Op: history.Enqueue, Plans: plans}); a.Outcome != history.Done {
		h.t.Fatalf("%+v", a)
	}
}
