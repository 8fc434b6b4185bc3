// A shop on three CPUs. Two desks on CPU 0 take orders and returns, CPU 1 prices them, CPU 2 keeps the ledger. Somebody
// books a negative amount, and the ledger refuses it: but who? See main.js.
import { f64, message } from 'damselfly/kernel'

const Booking = message('booking', { article: f64, count: f64, amount: f64 })
const PRICES = [0, 12, 7, 30]

export default function shop(cpu) {
  const booking = Booking.cursor(cpu.memory)
  if (cpu.index === 0) desks(cpu, booking)
  if (cpu.index === 1) pricing(cpu, booking)
  if (cpu.index === 2) ledger(cpu, booking)
}

function desks(cpu, booking) {
  const book = (article, count) => {
    const m = cpu.ports.allocate(Booking)
    booking.at = m
    booking.article = article
    booking.count = count
    cpu.ports.send(cpu.ports.lookup('pricing'), m)
  }
  const sell = (article) => book(article, 1)
  // The bug: what was never sold is taken back.
  const takeBack = (article) => book(article, -1)

  cpu.threads.start('front desk', function* frontDesk(thread) {
    yield* thread.until(() => cpu.ports.find('pricing') !== undefined && cpu.ports.find('ledger') !== undefined)
    for (let i = 0; i < 5; i++) {
      sell(1 + (i % 2))
      yield* thread.delay(1000)
    }
  })
  cpu.threads.start('returns', function* returns(thread) {
    yield* thread.until(() => cpu.ports.find('pricing') !== undefined && cpu.ports.find('ledger') !== undefined)
    yield* thread.delay(3000)
    takeBack(3)
  })
}

function pricing(cpu, booking) {
  cpu.ports.create({
    name: 'pricing',
    handler: function price(m) {
      booking.at = m
      booking.amount = booking.count * PRICES[booking.article]
      cpu.ports.forward(cpu.ports.lookup('ledger'), m)
      return -1 // it is no longer ours
    },
  })
}

function ledger(cpu, booking) {
  const sold = [0, 0, 0, 0]
  cpu.ports.create({
    name: 'ledger',
    handler: function enter(m) {
      booking.at = m
      sold[booking.article] += booking.count
      if (sold[booking.article] < 0) throw new Error(`article ${booking.article} was taken back and never sold`)
      return 0
    },
  })
}
