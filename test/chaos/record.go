//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// record writes the history of a run: in memory for the checker, and in a file for the reader. The
// file is nearly complete even if the harness is killed. Its methods are safe for concurrent use.
type record struct {
	mu     sync.Mutex
	events []history.Event
	file   *os.File
	out    *json.Encoder
	err    error // the first error of the file
}

func newRecord(path string) (*record, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("record the run: %w: name a directory that can be written with -dir", err)
	}
	return &record{file: f, out: json.NewEncoder(f)}, nil
}

// add sets the number and the time of an event, and records it.
func (r *record) add(e history.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.N, e.At = int64(len(r.events)+1), time.Now()
	r.events = append(r.events, e)
	if err := r.out.Encode(e); err != nil && r.err == nil {
		r.err = fmt.Errorf("record the run: %w", err)
	}
}

// all returns what has been recorded so far.
func (r *record) all() []history.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// close also returns the first error of the file.
func (r *record) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.file.Close(); err != nil && r.err == nil {
		r.err = err
	}
	return r.err
}
