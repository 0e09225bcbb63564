package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

// backend is where submit, list and show do their work: in a store, or by asking a server.
type backend interface {
	submit(ctx context.Context, s submission) (t taskJSON, existed bool, err error)
	find(ctx context.Context, q task.Query) ([]taskJSON, error)
	show(ctx context.Context, id string) (taskJSON, error)
	close() error
}

// submission is a new task, as POST /v1/tasks takes it.
type submission struct {
	ID       string          `json:"id,omitempty"`
	Kind     string          `json:"kind"`
	Payload  json.RawMessage `json:"payload"`
	Priority int             `json:"priority,omitempty"`
	// Delay is a duration with its unit, as "90s".
	Delay string `json:"delay,omitempty"`
}

// place is the flags that choose a backend.
type place struct{ store, storeFile, server string }

func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.server, "server", "", "address of a server (default http://"+defaultListen+")")
	cmd.Flags().StringVar(&p.store, "store", "", "work on a store directly: "+storeUsage)
	cmd.Flags().StringVar(&p.storeFile, "store-file", "", "file that has the address of the store")
	cmd.MarkFlagsMutuallyExclusive("server", "store", "store-file")
}

func (p *place) open(ctx context.Context, create bool) (backend, error) {
	if p.server != "" {
		return newServer(p.server)
	}
	address, err := storeAddress(p.store, p.storeFile)
	if err != nil {
		return nil, err
	}
	if address == "" {
		return newServer("")
	}
	s, err := openStore(ctx, address, howToOpen{create: create}, slog.Default())
	if err != nil {
		return nil, err
	}
	return &direct{store: s, client: task.NewClient(s)}, nil
}

// with opens the backend, calls fn, and closes it.
func (p *place) with(ctx context.Context, create bool, fn func(backend) error) error {
	b, err := p.open(ctx, create)
	if err != nil {
		return err
	}
	return errors.Join(fn(b), b.close())
}

// direct is a backend on a store. The server uses it too.
type direct struct {
	store  task.Store
	client *task.Client
	queues map[string]string // where tasks of a kind wait, if not in the default queue
}

func (d *direct) submit(ctx context.Context, s submission) (taskJSON, bool, error) {
	opt, err := s.options()
	if err != nil {
		return taskJSON{}, false, err
	}
	opt.Queue = d.queues[s.Kind]
	done, err := d.client.Enqueue(ctx, s.Kind, s.Payload, opt)
	if err != nil {
		return taskJSON{}, false, err
	}
	t, err := d.client.Get(ctx, done.ID)
	return toJSON(t), done.Existed, err
}

// options checks what is not the client's to check.
func (s submission) options() (*task.Options, error) {
	if !json.Valid(s.Payload) {
		return nil, fmt.Errorf("%w: the payload is not JSON", task.ErrInvalid)
	}
	opt := &task.Options{ID: s.ID, Priority: s.Priority}
	if s.Delay != "" {
		d, err := parseDelay(s.Delay)
		if err != nil {
			return nil, err
		}
		opt.Delay = d
	}
	return opt, nil
}

func (d *direct) find(ctx context.Context, q task.Query) ([]taskJSON, error) {
	found, err := d.client.Find(ctx, q)
	all := make([]taskJSON, len(found))
	for i, t := range found {
		all[i] = toJSON(t)
	}
	return all, err
}

func (d *direct) show(ctx context.Context, id string) (taskJSON, error) {
	t, err := d.client.Get(ctx, id)
	if err != nil {
		return taskJSON{}, err
	}
	runs, err := d.client.History(ctx, id)
	j := toJSON(t)
	j.History = runsToJSON(runs)
	return j, err
}

func (d *direct) close() error { return d.store.Close() }

// known says whether a registered worker claims a kind.
func (d *direct) known(ctx context.Context, kind string) (bool, error) {
	workers, err := d.client.Workers(ctx)
	for _, w := range workers {
		for _, k := range w.Kinds {
			if k == kind && !w.Dead && w.Life != task.LifeDead {
				return true, nil
			}
		}
	}
	return false, err
}
