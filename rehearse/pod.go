package rehearse

import "syscall"

// Container is one program of a pod, as its manifest and its image describe it.
type Container struct {
	// Name is the container's name in messages. It may be empty for a program that is alone.
	Name string
	// Command is the program with its arguments.
	Command []string
	// Dir is the working directory, empty for that of this process. Env are the variables, each as
	// NAME=VALUE, that are added to this process's environment,
	// or to that of the Image.
	Dir string
	Env []string
	// Image is what the program runs in, nil for this machine's file system.
	Image *Image
	// PreStop is the hook that runs before the stop signal, nil for none.
	PreStop *Hook
	// StopSignal is SIGTERM if it is 0.
	StopSignal syscall.Signal
}

// Image is an unpacked image of a container.
type Image struct {
	// Root is the directory that holds its files.
	Root string
	// User, Group and Groups are whose rights the program has.
	User, Group int
	Groups      []int
	// Env is the whole environment, to which Container.Env is added: nothing of this process's.
	Env []string
}

// Hook is a preStop hook.
type Hook struct {
	// Exec is a command that runs in the container, without a shell of its own.
	Exec []string
}
