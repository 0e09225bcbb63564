package task

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Mux maps kinds to handlers. The zero Mux is empty and ready. Register every handler before a
// worker serves it: one that is registered later is used from the next claim on, but
// [Client.Workers] names the kinds that were there when the worker began, and others who look there
// believe that no worker knows the kind.
type Mux struct {
	mu    sync.RWMutex
	kinds map[string]*entry
	used  bool // a handler has been registered
	wraps []func(Handler) Handler
}

// Handler is a kind's handler without the type of its payload, as middleware sees it. [Handle] says
// what ctx is, what an error or a panic means, and how a handler is tested.
type Handler func(ctx context.Context, r *Run) error

type entry struct {
	policy policy
	handle Handler
}

// Use wraps every handler that is registered later, the first given outermost. A middleware is
// called for every run, with its context and the run, of which [Run.Meta] has what [Client.Use] has
// set; what it returns, or its panic, is taken for the handler's. Use panics when there is a
// handler already: that one would be left out without a word.
func (m *Mux) Use(middleware ...func(next Handler) Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used {
		panic("task: Use comes before the first Handle")
	}
	m.wraps = append(m.wraps, middleware...)
}

// Handle registers the handler of a kind. It panics if the kind is invalid or has a handler
// already, as net/http does: both are mistakes of the program and show in its first second.
//
// A payload that does not decode into T is a failed attempt with ErrPayload, and fn is not called.
// The next attempt comes after a minute at the earliest, then after two, four and eight: in a
// rollout an old version meets the tasks of a new one, and the new one is given the time to take
// them, a quarter of an hour with five attempts. The task keeps its payload. A kind that shall not
// wait has a middleware (see [Mux.Use]) that makes ErrPayload [Permanent].
//
// The context that fn is given ends at the group's interrupt (at last call, if the kind has
// [InterruptOnStop]), with the kind's Timeout, when the task is cancelled or to be handed over, and
// when the run is another worker's by now. [context.Cause] says which: a [lastcall.InterruptError],
// ErrTimeout, ErrCancelled, ErrInterruptRequested, ErrLeaseLost or ErrDisconnected. After the
// interrupt two things are still good: [Run.Save], with the context that has ended, and everything
// else (a query, a request) with [lastcall.UntilAbandon] of it, until the group gives up its
// goroutines.
//
// A panic of fn, or a call of runtime.Goexit, is a failed attempt, also during a stop:
// Counters.Attempts grows by one, Crashes does not. The task's Error has the value and the stack
// (see [PanicError]); the worker and its other runs go on.
//
// Package tasktest tests a handler without a process: interrupted at its n-th Save
// (Options.InterruptAtSave), or killed there as by SIGKILL (Options.CrashAtSave), and run again.
func Handle[T any](m *Mux, k Kind[T], fn func(ctx context.Context, r *Run, args T) error) {
	p, err := k.policy()
	if err != nil {
		panic(err)
	}
	if fn == nil {
		panic(fmt.Errorf("task: the handler of kind %q is nil", k.Name))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.kinds[k.Name]; ok {
		panic(fmt.Errorf("task: kind %q has two handlers", k.Name))
	}
	if m.kinds == nil {
		m.kinds = make(map[string]*entry)
	}
	m.used = true
	handle := Handler(func(ctx context.Context, r *Run) error {
		var args T
		if err := json.Unmarshal(r.task.Payload, &args); err != nil {
			return fmt.Errorf("%w %s, of this version of the program: %w", ErrPayload, k.Name, err)
		}
		return fn(ctx, r, args)
	})
	for _, wrap := range slices.Backward(m.wraps) {
		handle = wrap(handle)
	}
	m.kinds[k.Name] = &entry{policy: p, handle: handle}
}

// Kinds lists the registered kinds, sorted.
func (m *Mux) Kinds() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.kinds))
}

func (m *Mux) lookup(kind string) (*entry, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e, ok := m.kinds[kind]
	return e, ok
}
