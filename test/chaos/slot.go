//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// slot is a place for a process. It is filled again when its process has ended, as an orchestrator
// does.
type slot struct {
	name    string // w1, c1
	command func(process string) (*exec.Cmd, error)
	says    string // what a process prints when it is ready; empty: it reports that to the harness
	// fault is held by the current fault of the process.
	fault sync.Mutex

	mu   sync.Mutex
	all  []string // the names of its processes so far
	now  *process
	next chan struct{} // closed and replaced when there is another process
}

func newSlot(name string, command func(process string) (*exec.Cmd, error)) *slot {
	return &slot{name: name, command: command, next: make(chan struct{})}
}

// keep fills the slot until ctx ends. The last process keeps running.
func (s *slot) keep(ctx context.Context, r *run) {
	for ctx.Err() == nil {
		p, err := s.fill(r)
		if err != nil {
			r.fail(err)
			return
		}
		if s.says != "" {
			r.hears(ctx, p, s.says)
		}
		select {
		case <-p.ended:
		case <-ctx.Done():
			return
		}
		select {
		case <-p.peer.ready:
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond): // it could not start, for example without a store
		}
	}
}

// fill starts the slot's next process.
func (s *slot) fill(r *run) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%s.%d", s.name, len(s.all)+1)
	s.all = append(s.all, name)
	cmd, err := s.command(name)
	if err != nil {
		return nil, err
	}
	p, err := r.begin(name, cmd)
	if err != nil {
		return nil, err
	}
	s.now = p
	close(s.next)
	s.next = make(chan struct{})
	return p, nil
}

// current returns the process of the slot, which may have ended. It is nil before the first one.
func (s *slot) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// since returns the names of a process of the slot and of its successors.
func (s *slot) since(p *process) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all[slices.Index(s.all, p.name):])
}

// serving waits for a process of the slot that is ready and has not ended.
func (s *slot) serving(ctx context.Context) (*process, error) {
	for {
		s.mu.Lock()
		p, next := s.now, s.next
		s.mu.Unlock()
		var ready, ended chan struct{}
		if p != nil {
			ready, ended = p.peer.ready, p.ended
		}
		select {
		case <-ready:
			if p.alive() {
				return p, nil
			}
		case <-ended:
		case <-next:
			continue
		case <-ctx.Done():
			return nil, fmt.Errorf("no process of %s is ready: %w", s.name, context.Cause(ctx))
		}
		select { // the process has ended
		case <-next:
		case <-ctx.Done():
			return nil, fmt.Errorf("no process of %s is ready: %w", s.name, context.Cause(ctx))
		}
	}
}
