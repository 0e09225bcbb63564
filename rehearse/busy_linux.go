package rehearse

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// work returns how much the processes of the program have done: the processor time that they have
// used, in ticks of the kernel, and whether one of their threads is running or waits for a
// processor or a disk.
func (p *program) work() (ticks uint64, busy bool) {
	for _, pid := range p.pids() {
		stats, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
		if err != nil {
			continue
		}
		for _, name := range stats {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			// "123 (name) S 1 ...": the name may contain spaces and brackets.
			fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
			const state, utime, stime = 0, 11, 12
			if len(fields) <= stime {
				continue
			}
			busy = busy || fields[state][0] == 'R' || fields[state][0] == 'D'
			for _, i := range []int{utime, stime} {
				n, _ := strconv.ParseUint(string(fields[i]), 10, 64) // the kernel writes numbers
				ticks += n
			}
		}
	}
	return ticks, busy
}
