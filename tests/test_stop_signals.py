"""What a signal to this process comes to, wherever it stands."""

import contextlib
import os
import signal

import pytest

from fmnist_jax.stopping import Stopped, StopSignals

SIGNALS = pytest.mark.parametrize(
    'name', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
)


def send(name: signal.Signals) -> None:
    """To this process, whose handler runs before this returns."""
    os.kill(os.getpid(), name)


@SIGNALS
def test_stops_where_the_program_stands(name):
    before = signal.getsignal(name)
    with pytest.raises(Stopped, match=f'stopped by {name.name}'), StopSignals():
        send(name)
        pytest.fail('it went on')
    assert signal.getsignal(name) is before


@SIGNALS
def test_is_kept_while_deferred(name, capfd):
    with StopSignals() as stop, stop.deferred():
        assert not stop.is_set()
        send(name)
        assert stop.is_set()
    assert capfd.readouterr().err == f'{name.name}: stopping after a checkpoint\n'


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            send(signal.SIGHUP)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_same_signal_once_more_is_the_same():
    """A scheduler sends it to a whole job, and whoever started this passes it on."""
    with StopSignals() as stop, stop.deferred():
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stop.is_set()
    with pytest.raises(Stopped), StopSignals():
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGINT)


def test_is_kept_while_deferred_though_nobody_reads():
    """As after logging out; what is under way must not fail."""
    reader, writer = os.pipe()
    before = os.dup(2)
    os.dup2(writer, 2)
    os.close(reader)
    try:
        with StopSignals() as stop, stop.deferred():
            send(signal.SIGTERM)
            assert stop.is_set()
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(writer)


def test_code_that_makes_another_exception_of_it_stops_too():
    def imports() -> None:
        try:
            send(signal.SIGTERM)
        except Stopped:
            raise SystemError(
                'initialization of a module raised an exception'
            ) from None

    with pytest.raises(Stopped, match='SIGTERM') as stopped, StopSignals():
        imports()
    assert isinstance(stopped.value.__cause__, SystemError)


def test_code_that_swallows_it_stops_before_the_next_long_part():
    with pytest.raises(Stopped, match='SIGTERM'), StopSignals() as stop:
        with contextlib.suppress(Stopped):  # As `__del__` does.
            send(signal.SIGTERM)
        with stop.deferred():
            pytest.fail('it went on')


def test_other_mistakes_are_not_taken_for_a_signal():
    with pytest.raises(ValueError, match='a mistake'), StopSignals():
        raise ValueError('a mistake')


def test_a_mistake_after_a_signal_that_is_kept_is_told():
    mistake = pytest.raises(ValueError, match='a mistake')
    with mistake, StopSignals() as stop, stop.deferred():
        send(signal.SIGTERM)
        raise ValueError('a mistake')
