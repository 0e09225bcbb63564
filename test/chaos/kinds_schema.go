//go:build linux

package main

import (
	"context"
	"math/rand/v2"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// schemaKinds are what a deploy of a newer version does to those that are not replaced yet.
func schemaKinds() []kind {
	return []kind{{name: "newer-schema", what: "The schema becomes one version newer than all processes; it stays so, and they go on.", scope: theStore,
		timing: func(*rand.Rand) timing { return timing{settle: settle} }, do: newerSchema}}
}

// newerSchema has the driver upgrade the schema. It takes locks that everybody waits for.
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
	_, err := r.command(context.WithoutCancel(ctx), "upgrade") // it is done as a whole
	r.rec.add(history.Event{Fault: &over})
	return err
}
