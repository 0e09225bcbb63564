package rehearse

// dropped reports whether the runtime of a program that is PID 1 has given the signal back to the
// kernel, which drops it. Node.js does so for a program without a handler: that of the runtime
// removes itself and raises the signal anew. One that a program itself has removed when it was called
// looks the same.
func (r *rehearsal) dropped() bool {
	if r.frozen || r.program.isolation != namespace || !r.known || !r.handled || r.program.runtime() != "node" {
		return false
	}
	handled, known := r.program.handles(r.config.Program.StopSignal)
	return known && !handled
}

// unmoved notes whether a program that has not ended yet has ignored the signal, and reports whether
// that shows only at the end of its time. A server that did not ignore it has closed its listener
// meanwhile; a worker may be at work for the last time.
func (r *rehearsal) unmoved() bool {
	switch {
	case !r.dropped():
		return false
	case r.traffic != nil:
		r.ignored = len(listening(r.program.pids())) > 0
		return false
	}
	r.ignored = true
	return r.cutShort && !r.hung
}
