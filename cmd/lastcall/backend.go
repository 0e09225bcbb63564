package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/httpapi"
	"github.com/lastcall-go/lastcall/task"
)

// backend is where commands do their work: a *task.Client on a store, or an *httpapi.Client of a
// server.
type backend interface {
	Enqueue(ctx context.Context, kind string, payload []byte, opt *task.Options) (task.Enqueued, error)
	Get(ctx context.Context, id string) (task.Task, error)
	Find(ctx context.Context, q task.Query) ([]task.Task, error)
	History(ctx context.Context, id string) ([]task.RunRecord, error)
	Count(ctx context.Context) (task.Counts, error)
	Workers(ctx context.Context) ([]task.WorkerInfo, error)
}

// place is the flags that choose a backend.
type place struct{ store, storeFile, server string }

func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.server, "server", "", "address of a server (default http://"+defaultListen+")")
	cmd.Flags().StringVar(&p.store, "store", "", "work on a store directly: "+storeUsage)
	cmd.Flags().StringVar(&p.storeFile, "store-file", "", "file that has the address of the store")
	cmd.MarkFlagsMutuallyExclusive("server", "store", "store-file")
}

// open returns the backend and what is to be closed in the end.
func (p *place) open(ctx context.Context, create bool) (backend, io.Closer, error) {
	server := p.server
	if server == "" {
		address, err := storeAddress(p.store, p.storeFile)
		if err != nil {
			return nil, nil, err
		}
		if address != "" {
			s, err := openStore(ctx, address, howToOpen{create: create}, slog.Default())
			if err != nil {
				return nil, nil, err
			}
			return task.NewClient(s), s, nil
		}
		server = "http://" + defaultListen
	}
	c, err := httpapi.NewClient(httpapi.ClientConfig{Server: server})
	if err != nil {
		return nil, nil, err
	}
	return c, c, nil
}

// with opens the backend, calls fn, and closes it.
func (p *place) with(ctx context.Context, create bool, fn func(backend) error) error {
	b, closer, err := p.open(ctx, create)
	if err != nil {
		return err
	}
	err = fn(b)
	if errors.As(err, new(*url.Error)) {
		err = fmt.Errorf("%w (--server chooses another address, --store works without a server)", err)
	}
	return errors.Join(err, closer.Close())
}

// story is a task with its runs, and with what it waits for.
func story(ctx context.Context, b backend, id string) (httpapi.Task, error) {
	t, err := b.Get(ctx, id)
	if err != nil {
		return httpapi.Task{}, err
	}
	runs, err := b.History(ctx, id)
	if err != nil {
		return httpapi.Task{}, err
	}
	j := httpapi.TaskOf(t)
	j.History = httpapi.RunsOf(runs)
	j.WaitsFor, err = waitsFor(ctx, b, t)
	return j, err
}
