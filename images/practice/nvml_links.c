/* NVML's functions that tell how devices lie to each other and to the processors. */
#include "nvml_session.h"

#include <stdio.h>
#include <string.h>

#define SWITCH_BUS_ID "00000000:C0:00.0" /* of the one NVSwitch */

API nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t handle, unsigned int size,
                                             unsigned long *nodes, unsigned int scope) {
    Device device;
    BEGIN(handle, &device);
    NEED(nodes && size > 0 && scope <= 1, NVML_ERROR_INVALID_ARGUMENT);
    NEED(device.numa_node >= 0, NVML_ERROR_NOT_SUPPORTED);
    memset(nodes, 0, size * sizeof *nodes);
    nodes[0] = 1UL << device.numa_node;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNumaNodeId(nvmlDevice_t handle, unsigned int *node) {
    Device device;
    BEGIN(handle, &device);
    NEED(node, NVML_ERROR_INVALID_ARGUMENT);
    NEED(device.numa_node >= 0, NVML_ERROR_NOT_SUPPORTED);
    *node = (unsigned int)device.numa_node;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other,
                                                     int *level) {
    Device first, second;
    BEGIN(one, &first);
    BEGIN(other, &second);
    NEED(level && first.parent < 0 && second.parent < 0, NVML_ERROR_INVALID_ARGUMENT);
    *level = one == other ? NVML_TOPOLOGY_INTERNAL : link_between(&first, &second).level;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t one, nvmlDevice_t other, int index,
                                        int *status) {
    Device first, second;
    BEGIN(one, &first);
    BEGIN(other, &second);
    NEED(first.parent < 0 && second.parent < 0, NVML_ERROR_NOT_SUPPORTED);
    NEED(status && one != other && index >= 0 && index < NVML_P2P_CAPS_INDEX_UNKNOWN,
         NVML_ERROR_INVALID_ARGUMENT);
    *status = index == NVML_P2P_CAPS_INDEX_NVLINK ? link_between(&first, &second).p2p
                                                  : NVML_P2P_STATUS_OK;
    return NVML_SUCCESS;
}

/* ---- NVLinks: those to other cards come first, then those to the switch ---------------------- */

/* What is at the far end of a card's NVLink; 1 for a card in `far`, 2 for the switch, 0: inactive. */
static int end_of_link(const Device *device, unsigned int link, Device *far) {
    unsigned int direct = 0;
    if (device->parent >= 0)
        return 0;
    if (far_end(device, link, far))
        return 1;
    while (far_end(device, direct, far))
        direct++;
    return link - direct < device->switch_links ? 2 : 0;
}

API nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t handle, unsigned int link,
                                          unsigned int *active) {
    Device device, far;
    BEGIN(handle, &device);
    NEED(active && link < NVML_NVLINK_MAX_LINKS, NVML_ERROR_INVALID_ARGUMENT);
    NEED(end_of_link(&device, 0, &far), NVML_ERROR_NOT_SUPPORTED);
    *active = end_of_link(&device, link, &far) != 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t handle, unsigned int link,
                                                     int *type) {
    Device device, far;
    BEGIN(handle, &device);
    NEED(type && link < NVML_NVLINK_MAX_LINKS, NVML_ERROR_INVALID_ARGUMENT);
    int end = end_of_link(&device, link, &far);
    NEED(end, NVML_ERROR_NOT_SUPPORTED);
    *type = end == 2 ? NVML_NVLINK_DEVICE_TYPE_SWITCH : NVML_NVLINK_DEVICE_TYPE_GPU;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t handle, unsigned int link,
                                                     nvmlPciInfo_t *pci) {
    Device device, far;
    BEGIN(handle, &device);
    NEED(pci && link < NVML_NVLINK_MAX_LINKS, NVML_ERROR_INVALID_ARGUMENT);
    int end = end_of_link(&device, link, &far);
    NEED(end, NVML_ERROR_NOT_SUPPORTED);
    memset(pci, 0, sizeof *pci);
    if (end == 1)
        bus_id(&far, pci->busId, BUS_ID);
    else
        snprintf(pci->busId, sizeof pci->busId, "%s", SWITCH_BUS_ID);
    return NVML_SUCCESS;
}
