package rehearse

import "syscall"

// Container is one program of a pod, as its manifest and its image describe it.
type Container struct {
	// Name is the container's name in messages. It may be empty for a program that is alone.
	Name string
	// Command is the program with its arguments.
	Command []string
	// Dir is the working directory, empty for that of this process. Env are the variables, each as
	// NAME=VALUE, that are added to this process's environment.
	Dir string
	Env []string
	// PreStop is the hook that runs before the stop signal, nil for none.
	PreStop *Hook
	// StopSignal is SIGTERM if it is 0.
	StopSignal syscall.Signal
}

// Hook is a preStop hook.
type Hook struct {
	// Exec is a command that runs in the container, without a shell of its own.
	Exec []string
}
