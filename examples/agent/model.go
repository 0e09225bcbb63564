package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// standIn is a fake model: it is slow, and keeps a bill. It ignores idempotency keys, so that every
// call is on the bill.
type standIn struct {
	takes time.Duration

	mu    sync.Mutex
	calls []string // the names of the steps, in the order of their calls
}

// ServeHTTP answers a call.
func (m *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call struct{ Prompt string }
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.calls = append(m.calls, path.Base(r.Header.Get("Idempotency-Key")))
	fmt.Printf("call %d: %s (%s)\n", len(m.calls), m.calls[len(m.calls)-1], call.Prompt)
	m.mu.Unlock()
	select {
	case <-time.After(m.takes):
	case <-r.Context().Done(): // it is still paid for
		return
	}
	answer := fmt.Sprintf("the answer to %q", call.Prompt)
	if strings.HasPrefix(call.Prompt, "Split") {
		answer = "What is lost; When; Who notices; What helps; What it costs"
	}
	// A client that has gone does not read it.
	_ = json.NewEncoder(w).Encode(map[string]string{"Answer": answer})
}

// bill returns the calls so far.
func (m *standIn) bill() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.calls...)
}
