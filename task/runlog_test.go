package task_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lastcall-go/lastcall/task"
)

// logged runs a task whose handler uses its logger, with a worker whose logger has a level, and
// returns the contents of both logs. After the run it logs "too late" with that logger.
func logged(t *testing.T, level slog.Level, say func(ctx context.Context, log *slog.Logger)) (tasks, workers string) {
	var buf logBuffer
	bubble(t, func(b *bench) {
		b.log = slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: level}))
		var late *slog.Logger
		b.handle = func(ctx context.Context, r *task.Run) error {
			late = r.Logger()
			say(ctx, late)
			return nil
		}
		g := b.serve(b.store)
		id := b.enqueue()
		b.want(id, task.StatusSucceeded, "", 0, 0, 0)
		late.Info("too late")
		b.stop(g, 0)
		synctest.Wait()
		log, err := b.client.Log(t.Context(), id)
		if err != nil {
			t.Error(err)
		}
		tasks = string(log)
		for line := range strings.Lines(buf.String()) {
			if strings.Contains(line, "said") || strings.Contains(line, "too late") {
				workers += strings.ReplaceAll(line, id, "ID")
			}
		}
	})
	return tasks, workers
}

func TestLogger_LinesGoToTheTasksLogAndToTheWorkersWithLevelAttributesAndGroups(t *testing.T) {
	tasks, workers := logged(t, slog.LevelWarn, func(ctx context.Context, log *slog.Logger) {
		log.With("a", 1).WithGroup("g").With("b", 2).Warn("said", "c", 3, slog.Group("h", "d", 4))
		log.InfoContext(ctx, "said to the task")
		log.Debug("said to nobody")
	})
	if n := strings.Count(tasks, "\n"); n != 2 || !strings.Contains(tasks, "level=WARN msg=said a=1 g.b=2 g.c=3 g.h.d=4\n") ||
		!strings.Contains(tasks, `level=INFO msg="said to the task"`+"\n") || strings.Contains(tasks, "too late") {
		t.Errorf("the task's log:\n%s", tasks)
	}
	if n := strings.Count(workers, "\n"); n != 1 || !strings.Contains(workers, "level=WARN msg=said task=ID kind=k run=") || !strings.HasSuffix(workers, " a=1 g.b=2 g.c=3 g.h.d=4\n") {
		t.Errorf("the worker's log:\n%s", workers)
	}
}

func TestLogger_ALevelThatTheWorkersLoggerTakesIsInTheTasksLogTooAndLateLinesAreNot(t *testing.T) {
	tasks, workers := logged(t, slog.LevelDebug, func(_ context.Context, log *slog.Logger) { log.Debug("said") })
	if strings.Count(tasks, "level=DEBUG msg=said\n") != 1 || strings.Contains(tasks, "too late") {
		t.Errorf("the task's log:\n%s", tasks)
	}
	if strings.Count(workers, "level=DEBUG msg=said task=ID") != 1 || strings.Count(workers, `level=INFO msg="too late" task=ID`) != 1 {
		t.Errorf("the worker's log:\n%s", workers)
	}
}

func TestLogger_WhatIsSaidIsBounded(t *testing.T) {
	tasks, _ := logged(t, slog.LevelError, func(_ context.Context, log *slog.Logger) {
		for range 10 {
			log.Info(strings.Repeat("x", task.MaxLog))
		}
	})
	if len(tasks) > task.MaxLog {
		t.Errorf("%d bytes", len(tasks))
	}
}
