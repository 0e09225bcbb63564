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
// worker uses it. A handler that is registered later is used from the next claim on, but
// [Client.Workers] lists the kinds that were registered when the worker began, so other programs
// would conclude that no worker knows the kind.
type Mux struct {
	mu    sync.RWMutex
	kinds map[string]*entry
	used  bool // a handler has been registered
	wraps []func(Handler) Handler
}

// Handler is a kind's handler without the type of its payload, as middleware sees it. [Handle]
// describes ctx, the meaning of an error or a panic, and how to test a handler.
type Handler func(ctx context.Context, r *Run) error

type entry struct {
	policy policy
	handle Handler
}

// Use wraps every handler that is registered later. The first middleware is the outermost. It is
// called for every run, with the run and its context; [Run.Meta] has what [Client.Use] has set.
// What it returns, or its panic, counts as the handler's. Use panics when a handler is registered
// already, because that one would silently be left out.
func (m *Mux) Use(middleware ...func(next Handler) Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used {
		panic("task: Use comes before the first Handle")
	}
	m.wraps = append(m.wraps, middleware...)
}

// Handle registers the handler of a kind. Like net/http it panics if the kind is invalid or has a
// handler already: both are mistakes of the program and show in its first second.
//
// A payload that does not decode into T is a failed attempt with ErrPayload, and fn is not called.
// The next attempt comes after a minute at the earliest, then after two, four and eight. In a
// rollout an old version meets the tasks of a new one; so the new one has time to claim them, a
// quarter of an hour with five attempts. The task keeps its payload. For a kind that shall not
// wait, use a middleware (see [Mux.Use]) that makes ErrPayload [Permanent].
//
// The context of fn ends in these cases; [context.Cause] reports which:
//
//   - the group's interrupt, or last call if the kind has [InterruptOnStop]: a
//     [lastcall.InterruptError]
//   - the kind's Timeout: ErrTimeout
//   - the task was cancelled: ErrCancelled
//   - a person requested a handover: ErrInterruptRequested
//   - the run has had the kind's MaxRunTime, and others wait: ErrTurn
//   - the run belongs to another worker by now: ErrLeaseLost
//   - the worker cannot reach the store, if the kind has CancelOnDisconnect: ErrDisconnected
//
// Two things still work after the interrupt: [Run.Save], with the context that has ended, and
// everything else (a query, a request) with [lastcall.UntilAbandon] of it, until the group abandons
// its goroutines.
//
// A panic of fn, or a call of runtime.Goexit, is a failed attempt, even during a stop:
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
