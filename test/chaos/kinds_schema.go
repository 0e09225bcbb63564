//go:build linux

package main

import (
	"context"
	"math/rand/v2"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// schemaKinds are what the deploy of a newer version does to processes that are not replaced yet.
func schemaKinds() []kind {
	return []kind{{name: "newer-schema", what: "The schema becomes one version newer than all processes, and stays so; the processes continue.", scope: theStore,
		timing: func(*rand.Rand) timing { return timing{settle: settle} }, do: newerSchema}}
}

// newerSchema makes the driver upgrade the schema. The upgrade takes locks that everybody waits
// for.
func newerSchema(ctx context.Context, r *run, f Fault) error {
	r.storeFault.Lock()
	defer r.storeFault.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := history.Fault{ID: f.ID, Kind: f.Kind, Cut: true}
	over := e
	over.Over = true
	r.rec.add(history.Event{Fault: &e})
	_, err := r.command(context.WithoutCancel(ctx), "upgrade") // it must not be cut short
	r.rec.add(history.Event{Fault: &over})
	return err
}
