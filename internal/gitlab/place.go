package gitlab

import "time"

// place is a request's place among those in flight.
type place struct {
	lanes *lanes
	queue queueName
	slow  bool
	left  bool
	aging *time.Timer // makes the request a slow one
}

// occupy takes a place. The lock of the lanes is held.
func (l *lanes) occupy(queue queueName) *place {
	p := &place{lanes: l, queue: queue}
	own := &l.lane[queue.lane()]
	own.quick++
	if queue >= facts {
		own.facts++
	}
	p.aging = time.AfterFunc(slowAfter, p.age)
	return p
}

// age lets a newcomer have the place of a request that GitLab takes long to answer, as long as the lane has not too many
// slow ones.
func (p *place) age() {
	l := p.lanes
	l.mu.Lock()
	defer l.mu.Unlock()
	own := &l.lane[p.queue.lane()]
	switch {
	case p.left:
	case own.slow >= l.maxSlow:
		p.aging.Reset(slowAfter)
	default:
		p.release()
		p.slow = true
		own.slow++
		l.dispatch()
	}
}

// leave ends the request.
func (p *place) leave() {
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	p.lanes.free(p)
}

func (l *lanes) free(p *place) {
	p.left = true
	p.aging.Stop()
	if p.slow {
		l.lane[p.queue.lane()].slow--
	} else {
		p.release()
	}
	l.dispatch()
}

func (p *place) release() {
	own := &p.lanes.lane[p.queue.lane()]
	own.quick--
	if p.queue >= facts {
		own.facts--
	}
}
