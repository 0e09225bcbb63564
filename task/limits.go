package task

import "time"

// Bounds of what a task may carry. They are far above what a task needs, and far below what would
// harm other tasks.
const (
	// MaxPayload bounds a payload, in bytes.
	MaxPayload = 1 << 20
	// MaxCheckpoint bounds a checkpoint, in bytes.
	MaxCheckpoint = 1 << 20
	// MaxSteps bounds the steps of a task, and MaxStepResults the bytes of all their results together.
	// MaxCheckpoint bounds each.
	MaxSteps       = 1000
	MaxStepResults = 16 << 20
	// MaxResult bounds a result, in bytes.
	MaxResult = 1 << 20
	// MaxLog bounds the part of a task's log that is kept, in bytes: its tail.
	MaxLog = 64 << 10
	// MaxMeta bounds the pairs of a task's Meta, and MaxMetaValue each value, in bytes.
	MaxMeta      = 16
	MaxMetaValue = 1 << 10
	// MaxHistory bounds the runs that are kept of a task.
	MaxHistory = 100
	// MaxCommands bounds the commands that are kept of a task.
	MaxCommands = 100
	// MaxReason bounds the reason that is given for a command, in bytes.
	MaxReason = 1000
	// MaxControl bounds the tasks of one call of [Store.ControlAll].
	MaxControl   = 1000
	maxBy        = 200
	maxErrorText = 8 << 10
	maxMessage   = 200
	maxName      = 100
	maxKey       = 200
	maxDelay     = 100 * 365 * 24 * time.Hour
)
