package storetest

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
)

// recorder is a test that may fail without failing the one that runs it.
type recorder struct {
	testing.TB
	ctx    context.Context
	failed atomic.Bool
}

func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Helper()                  {}
func (r *recorder) Log(...any)               {}
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) Failed() bool             { return r.failed.Load() }
func (r *recorder) Error(...any)             { r.failed.Store(true) }
func (r *recorder) Errorf(string, ...any)    { r.failed.Store(true) }
func (r *recorder) Fatal(...any)             { r.failed.Store(true); runtime.Goexit() }
func (r *recorder) Fatalf(string, ...any)    { r.Fatal() }
