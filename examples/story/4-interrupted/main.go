// Command 4-interrupted turns the images into tasks: each has a status. On SIGINT or SIGTERM the
// task that is running becomes interrupted, with its checkpoint. The store is in this process's
// memory, so it is gone when the process ends.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// Image is the payload of a task.
type Image struct{ Name string }

var images = task.Kind[Image]{Name: "image"}

func main() {
	slog.SetLogLoggerLevel(slog.LevelError)
	store := memstore.New()
	code := lastcall.Main(lastcall.Config{}, func(ctx context.Context, g *lastcall.Group) error {
		var mux task.Mux
		task.Handle(&mux, images, draw)
		worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: 1})
		if err != nil {
			return err
		}
		g.Defer("list", func(ctx context.Context) error { return list(ctx, store) })
		for _, name := range []string{"moon", "sun", "star"} {
			if _, err := images.Enqueue(ctx, task.NewClient(store), Image{name}, nil); err != nil {
				return err
			}
		}
		return g.Go("worker", worker.Serve)
	})
	os.Exit(code)
}

// draw draws one line after the other, and hands over at last call.
func draw(ctx context.Context, r *task.Run, image Image) error {
	for line := range 10 {
		if r.Stopping() {
			return r.HandOver(line)
		}
		fmt.Println(image.Name, "line", line)
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

func list(ctx context.Context, store task.Store) error {
	tasks, err := task.NewClient(store).Find(ctx, task.Query{})
	for _, t := range tasks {
		fmt.Printf("%s is %s, checkpoint %q\n", t.Payload, t.Status, t.Checkpoint)
	}
	return err
}
