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
// worker serves it.
type Mux struct {
	mu    sync.RWMutex
	kinds map[string]*entry
	used  bool // a handler has been registered
	wraps []func(Handler) Handler
}

// Handler is a kind's handler without the type of its payload, as middleware sees it.
type Handler func(ctx context.Context, r *Run) error

type entry struct {
	policy policy
	handle Handler
}

// Use wraps every handler that is registered later, the first given outermost. It panics when there
// is one already: that one would be left out without a word.
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
// A payload that does not decode into T is a permanent error: the task fails and keeps its payload.
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
			return Permanent(fmt.Errorf("payload does not fit kind %q: %w", k.Name, err))
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
