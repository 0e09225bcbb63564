package tasktest

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// Everywhere yields all the ways in which a handler may be stopped, one after the other: first no
// incident, then for each Save, Step and item of an Each a last call, an interrupt and a crash.
// Each comes with its name, for t.Run or a message, and the caller runs it:
//
//	handler := sendLetters(new(letterbox))
//	for name, opt := range tasktest.Everywhere(t, handler, readers, tasktest.Options{}) {
//		var box letterbox
//		got := tasktest.Run(t, sendLetters(&box), readers, opt)
//		...
//	}
//
// Everywhere itself runs the given handler once, to count its Saves and items; the result of that
// run is not used. Every way has the options of opt, of which no incident may be set. Two of the
// ways, those with CrashBeforeSave and CrashAtItem, repeat a part of the work, whatever the handler
// does.
func Everywhere[T any](t *testing.T, handler func(ctx context.Context, r *task.Run, args T) error, args T, opt Options) iter.Seq2[string, Options] {
	t.Helper()
	plain := Run(t, handler, args, opt)
	return everywhere(opt, plain.Saves, plain.Items)
}

// EverywhereTask is Everywhere for a task that [task.Kind.Prepare] has prepared, as RunTask is for
// Run.
func EverywhereTask(t *testing.T, mux *task.Mux, n task.NewTask, opt Options) iter.Seq2[string, Options] {
	t.Helper()
	plain := RunTask(t, mux, n, opt)
	return everywhere(opt, plain.Saves, plain.Items)
}

// everywhere yields the ways of a handler with so many saves and items.
func everywhere(opt Options, saves, items int) iter.Seq2[string, Options] {
	kinds := []struct {
		name string
		most int
		set  func(o *Options, n int)
	}{
		{"last call at save", saves, func(o *Options, n int) { o.LastCallAtSave = n }},
		{"interrupted at save", saves, func(o *Options, n int) { o.InterruptAtSave = n }},
		{"killed at save", saves, func(o *Options, n int) { o.CrashAtSave = n }},
		{"killed before save", saves, func(o *Options, n int) { o.CrashBeforeSave = n }},
		{"last call at item", items, func(o *Options, n int) { o.LastCallAtItem = n }},
		{"interrupted at item", items, func(o *Options, n int) { o.InterruptAtItem = n }},
		{"killed at item", items, func(o *Options, n int) { o.CrashAtItem = n }},
	}
	return func(yield func(string, Options) bool) {
		if !yield("no incident", opt) {
			return
		}
		for _, k := range kinds {
			for n := 1; n <= k.most; n++ {
				o := opt
				k.set(&o, n)
				if !yield(fmt.Sprint(k.name, " ", n), o) {
					return
				}
			}
		}
	}
}
