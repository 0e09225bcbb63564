package manifest

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// shellOf returns the script of a command such as ["/bin/sh", "-c", "./server"], empty if the
// command is no shell. It returns " " for a shell without -c, whose script is in the args.
func shellOf(command []string) string {
	if len(command) == 0 || !slices.Contains([]string{"sh", "bash", "ash", "dash", "zsh", "ksh"}, path.Base(command[0])) {
		return ""
	}
	for i, word := range command[1:] {
		if strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && strings.HasSuffix(word, "c") {
			if i+2 < len(command) {
				return command[i+2]
			}
			return " "
		}
	}
	return ""
}

// replacesItself reports whether a shell handles the signal itself, or executes the last command of
// a script in its own place (exec). bash, and the ash of busybox, do so by themselves, unless the
// command is in a pipe or in the background. dash, which is sh in Debian and Ubuntu, does so only
// for exec.
func replacesItself(shell, text string) bool {
	parts := separators.Split(strings.TrimRight(text, "; \n"), -1)
	last := strings.TrimSpace(parts[len(parts)-1])
	if strings.HasPrefix(last, "exec ") || strings.Contains(text, "trap ") {
		return true
	}
	return shell != "sh" && shell != "dash" && !strings.ContainsAny(strings.NewReplacer("&&", "", "||", "").Replace(text), "|&")
}

var separators = regexp.MustCompile(`&&|\|\||[;|&\n]`)

// belowInit returns what an init such as tini starts. The init passes a signal on to its child
// alone.
func belowInit(command []string) []string {
	if len(command) == 0 || !slices.Contains([]string{"tini", "docker-init", "catatonit"}, path.Base(command[0])) {
		return command
	}
	rest := command[1:]
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		if rest[0] == "-g" { // to the whole process group
			return nil
		}
		rest = rest[1:]
	}
	return rest
}
