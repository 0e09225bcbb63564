package rehearse

import (
	"os"

	"github.com/lastcall-go/lastcall/internal/proc"
)

func startTree(path string, argv []string, files []*os.File) (tree, error) {
	return proc.Start(path, argv, os.ProcAttr{Files: files})
}
