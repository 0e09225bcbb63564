// Command 5-picked-up stores the tasks in a file. The next process resumes the interrupted task at
// the line where it stopped: after SIGTERM, and after SIGKILL too. Its argument is the name of the
// file.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// Image is the payload of a task.
type Image struct{ Name string }

var images = task.Kind[Image]{Name: "image"}

func main() {
	slog.SetLogLoggerLevel(slog.LevelError)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: 5-picked-up FILE")
		os.Exit(2)
	}
	os.Exit(lastcall.Main(lastcall.Config{}, setup))
}

func setup(ctx context.Context, g *lastcall.Group) error {
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: os.Args[1]})
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(store.Close))
	var mux task.Mux
	task.Handle(&mux, images, draw)
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: 1})
	if err != nil {
		return err
	}
	// The id identifies the task, so one that exists is not created again.
	once := &task.EnqueueOptions{ID: "00000000-0000-7000-8000-00000000003e"}
	if _, err := images.Enqueue(ctx, task.NewClient(store), Image{"moon"}, once); err != nil {
		return err
	}
	return g.Go("worker", worker.Serve)
}

// draw continues at the checkpoint, and saves one after every line.
func draw(ctx context.Context, r *task.Run, image Image) error {
	line := 0
	if resumed, err := r.Load(&line); err != nil {
		return err
	} else if resumed {
		fmt.Println(image.Name, "goes on at line", line)
	}
	for ; line < 10; line++ {
		if r.Stopping() {
			return r.HandOver(line)
		}
		fmt.Println(image.Name, "line", line)
		time.Sleep(50 * time.Millisecond)
		if err := r.Save(ctx, line+1); err != nil {
			return err
		}
	}
	fmt.Println(image.Name, "is drawn")
	return nil
}
