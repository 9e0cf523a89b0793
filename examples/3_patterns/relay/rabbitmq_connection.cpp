// SPDX-License-Identifier: BSL-1.0

#include <fmt/format.h>

#include "amqp_connection.hpp"

#if __has_include(<rabbitmq-c/amqp.h>)  // since 0.12; the names without a folder warn then
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#endif

#include <string_view>
#include <utility>

namespace relay {

namespace {

constexpr amqp_channel_t channel = 1;
constexpr int heartbeat = 10;  // seconds; after two without any the connection is lost

timeval time_of(std::chrono::milliseconds time)
{
    return {time.count() / 1000, (time.count() % 1000) * 1000};
}
amqp_bytes_t bytes(std::string const& text)
{
    return {text.size(), const_cast<char*>(text.data())};
}
std::string text(amqp_bytes_t bytes)
{
    return {static_cast<char const*>(bytes.bytes), bytes.len};
}
[[noreturn]] void fail(char const* what, int status)
{
    throw BrokerError(fmt::format("{}: {}", what, amqp_error_string2(status)));
}
void check(char const* what, int status)
{
    if (status != AMQP_STATUS_OK)
        fail(what, status);
}
void check(char const* what, amqp_rpc_reply_t const& reply)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        fail(what, reply.library_error);
    // The broker closed the channel or the connection and says why.
    if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
        throw BrokerError(fmt::format(
            "{}: {}", what, text(static_cast<amqp_channel_close_t*>(reply.reply.decoded)->reply_text)));
    if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
        throw BrokerError(fmt::format(
            "{}: {}", what, text(static_cast<amqp_connection_close_t*>(reply.reply.decoded)->reply_text)));
    throw BrokerError(fmt::format("{}: it was refused", what));
}

}  // namespace

void AmqpConnection::Close::operator()(amqp_connection_state_t_* connection) const noexcept
{
    amqp_destroy_connection(connection);
}

AmqpConnection::AmqpConnection(std::string url) : connection_(amqp_new_connection())
{
    amqp_connection_info where{};
    amqp_default_connection_info(&where);
    if (amqp_parse_url(url.data(), &where) != AMQP_STATUS_OK || where.ssl != 0)
        throw BrokerError("the URL is none of the form amqp://user:password@host:port/vhost");
    auto* const socket = amqp_tcp_socket_new(connection_.get());
    if (socket == nullptr)
        throw BrokerError("no socket");
    auto const limit = time_of(patience);
    check("connecting", amqp_socket_open_noblock(socket, where.host, where.port, &limit));
    check("logging in", amqp_set_handshake_timeout(connection_.get(), &limit));
    check("logging in", amqp_set_rpc_timeout(connection_.get(), &limit));
    check(
        "logging in", amqp_login(
                          connection_.get(), where.vhost, 0, AMQP_DEFAULT_FRAME_SIZE, heartbeat,
                          AMQP_SASL_METHOD_PLAIN, where.user, where.password));
    amqp_channel_open(connection_.get(), channel);
    check_reply("opening a channel");
}

void AmqpConnection::check_reply(char const* what) const
{
    check(what, amqp_get_rpc_reply(connection_.get()));
}

void AmqpConnection::declare_topic(std::string const& topic)
{
    amqp_exchange_declare(
        connection_.get(), channel, bytes(topic), amqp_cstring_bytes("topic"), 0, 1, 0, 0, amqp_empty_table);
    check_reply("declaring the exchange");
}

void AmqpConnection::confirm()
{
    amqp_confirm_select(connection_.get(), channel);
    check_reply("asking for confirmations");
}

void AmqpConnection::consume(std::string const& topic, std::string const& queue)
{
    amqp_queue_declare(connection_.get(), channel, bytes(queue), 0, 1, 0, 0, amqp_empty_table);
    check_reply("declaring the queue");
    amqp_queue_bind(
        connection_.get(), channel, bytes(queue), bytes(topic), amqp_cstring_bytes("#"), amqp_empty_table);
    check_reply("binding the queue");
    amqp_basic_qos(connection_.get(), channel, 0, 100, 0);
    check_reply("asking for few messages at a time");
    // Alone: two consumers of one queue would handle messages of one key side by side.
    amqp_basic_consume(connection_.get(), channel, bytes(queue), amqp_empty_bytes, 0, 0, 1, amqp_empty_table);
    check_reply("consuming");
}

bool AmqpConnection::publish(std::string const& topic, Message const& message)
{
    amqp_basic_properties_t properties{};
    properties._flags =
        AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG;
    properties.content_type = amqp_cstring_bytes("application/cloudevents+json; charset=utf-8");
    properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    properties.message_id = bytes(message.id);
    amqp_boolean_t const mandatory = 1;  // what no queue wants comes back, and is not lost in silence
    return amqp_basic_publish(
               connection_.get(), channel, bytes(topic), bytes(message.key), mandatory, 0, &properties,
               bytes(message.json)) == AMQP_STATUS_OK;
}

std::optional<AmqpFrame> AmqpConnection::next()
{
    for (;;) {
        amqp_frame_t frame{};
        timeval const now{};
        auto const status = amqp_simple_wait_frame_noblock(connection_.get(), &frame, &now);
        if (status == AMQP_STATUS_TIMEOUT) {
            amqp_maybe_release_buffers(connection_.get());
            return std::nullopt;
        }
        check("reading", status);
        if (frame.frame_type != AMQP_FRAME_METHOD)
            continue;
        auto const& method = frame.payload.method;
        switch (method.id) {
        case AMQP_BASIC_ACK_METHOD: {
            auto const& ack = *static_cast<amqp_basic_ack_t*>(method.decoded);
            return AmqpFrame{AmqpFrame::Kind::confirmed, ack.delivery_tag, ack.multiple != 0};
        }
        case AMQP_BASIC_NACK_METHOD: {
            auto const& nack = *static_cast<amqp_basic_nack_t*>(method.decoded);
            return AmqpFrame{AmqpFrame::Kind::refused, nack.delivery_tag, nack.multiple != 0};
        }
        case AMQP_BASIC_RETURN_METHOD: return returned();
        case AMQP_CHANNEL_CLOSE_METHOD:
        case AMQP_CONNECTION_CLOSE_METHOD: throw BrokerError("the broker closed the connection");
        default: break;
        }
    }
}

AmqpFrame AmqpConnection::returned()
{
    amqp_message_t message{};
    check("reading a message that came back", amqp_read_message(connection_.get(), channel, &message, 0));
    AmqpFrame frame{AmqpFrame::Kind::returned, 0, false, text(message.properties.message_id)};
    amqp_destroy_message(&message);
    return frame;
}

std::optional<AmqpDelivery> AmqpConnection::receive(std::chrono::milliseconds longest_wait)
{
    amqp_maybe_release_buffers(connection_.get());
    amqp_envelope_t envelope{};
    auto const limit = time_of(longest_wait);
    auto const reply = amqp_consume_message(connection_.get(), &envelope, &limit, 0);
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT)
        return std::nullopt;
    check("receiving", reply);
    AmqpDelivery delivery{envelope.delivery_tag, text(envelope.message.body)};
    amqp_destroy_envelope(&envelope);
    return delivery;
}

void AmqpConnection::acknowledge(std::uint64_t tag)
{
    check("acknowledging", amqp_basic_ack(connection_.get(), channel, tag, 0));
}

int AmqpConnection::socket() const noexcept
{
    return amqp_get_sockfd(connection_.get());
}

}  // namespace relay
