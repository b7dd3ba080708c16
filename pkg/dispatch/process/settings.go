package process

import (
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch"
	"doorcode/pkg/event"
)

// maxRatePerSecond is far above what any account is allowed.
const maxRatePerSecond = 10000

// name is that of a channel's dispatcher: process, NATS user and durable.
func name(c delivery.Channel) string { return string(c) + "-dispatcher" }

// CheckWorkers refuses a number of workers that could do nothing, or that the
// channel's consumer never hands out: more than its MaxAckPending, which all
// replicas share.
func CheckWorkers(c delivery.Channel, workers int) error {
	spec, err := consumerOf(c)
	if err != nil {
		return err
	}
	if workers < 1 || workers > spec.MaxAckPending {
		return fmt.Errorf("%d workers are outside 1 to %d", workers, spec.MaxAckPending)
	}
	return nil
}

// CheckRate refuses a number of messages a second that is none.
func CheckRate(perSecond float64) error {
	if !(perSecond >= 1 && perSecond <= maxRatePerSecond) { // not-a-number included
		return fmt.Errorf("%g a second is outside 1 to %d", perSecond, maxRatePerSecond)
	}
	return nil
}

// consumerOf returns what the bus has for a channel's dispatcher.
func consumerOf(c delivery.Channel) (bus.ConsumerSpec, error) {
	for _, s := range bus.Streams() {
		for _, spec := range s.Consumers {
			if s.Name == event.StreamChallenges && spec.Durable == name(c) {
				return spec, nil
			}
		}
	}
	return bus.ConsumerSpec{}, fmt.Errorf("the channel %q has no consumer", c)
}

// patience returns the consumer's time for an ack and a schedule that is one
// shorter than its deliveries.
func patience(c delivery.Channel, schedule []time.Duration) (time.Duration, []time.Duration, error) {
	if schedule == nil {
		schedule = dispatch.DefaultSchedule()
	}
	spec, err := consumerOf(c)
	if err != nil {
		return 0, nil, err
	}
	if spec.MaxDeliver != len(schedule)+1 {
		return 0, nil, errors.New("the consumer and the schedule of repeats do not fit each other")
	}
	return spec.AckWait, schedule, nil
}
